"""OpenTelemetry: a span and metrics of each turn by the conventions for generative AI, and never its text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import askbot_ws.telemetry
from askbot_ws.config import Settings
from askbot_ws.errors import ConfigError, UpstreamStalled
from askbot_ws.events import Usage
from askbot_ws.logs import hash_session
from askbot_ws.telemetry import TurnTelemetry, provider_name
from askbot_ws.testing import ScriptedUpstream, serving
from askbot_ws.upstream import Ending

from .process import ProviderProcess, askbot, environment, reading


async def test_a_turn_is_a_span_and_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the conventions' names; of a turn that fails, the error's code; of none, a word that was said."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    telemetry = TurnTelemetry(tracers, MeterProvider([reader]), provider_name="openai")

    def opened(settings: Settings) -> TurnTelemetry:
        return telemetry

    monkeypatch.setattr(askbot_ws.telemetry, "open_telemetry", opened)
    usage = Usage(input_tokens=11, output_tokens=2)
    upstream = ScriptedUpstream(
        ["tourmaline", 0.02, "Be", Ending("stop", model="scripted-2026", usage=usage)], ["Be", UpstreamStalled()]
    )

    async with serving(upstream, otel=True, models=["other"]) as server, reading(server.url) as client:
        await client.answer("ultramarine?")
        await client.answer("ultramarine?", model="other")
        session = client.story.session or ""

    first, second = spans.get_finished_spans()
    assert (first.name, first.kind) == ("chat scripted", SpanKind.CLIENT)
    seen = dict(first.attributes or {})
    assert (first.end_time or 0) - (first.start_time or 0) >= 0.02e9
    assert 0 <= seen.pop("gen_ai.response.time_to_first_chunk") < 1  # type: ignore[operator]
    assert 0 <= seen.pop("askbot.queued_seconds") < 1  # type: ignore[operator]
    assert seen == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "scripted-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.conversation.id": hash_session(session),
        "askbot.turn": "t1",
    }
    assert second.name == "chat other"
    assert (second.attributes or {})["error.type"] == second.status.description == "upstream_stalled"
    everything = "".join(span.to_json() for span in (first, second))
    assert [word for word in ("ultramarine", "tourmaline", session) if word in everything] == []
    assert observed(reader) == {
        "gen_ai.client.token.usage input": 11,
        "gen_ai.client.token.usage output": 2,
        "gen_ai.client.operation.duration": 2,
        "gen_ai.client.operation.time_to_first_chunk": 2,
    }


def observed(reader: InMemoryMetricReader) -> dict[str, float]:
    """Of each metric the sum of tokens, or how many times were observed."""
    found: dict[str, float] = {}
    data = reader.get_metrics_data()
    assert data
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            assert isinstance(point, HistogramDataPoint)
            kind = (point.attributes or {}).get("gen_ai.token.type")
            name = f"{metric.name} {kind}" if kind else metric.name
            found[name] = found.get(name, 0) + (point.sum if kind else point.count)
    return found


@contextmanager
def collector() -> Generator[tuple[str, list[tuple[str, bytes]]]]:
    """A collector of OTLP over HTTP: its URL, and what it gets."""
    received: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


async def test_a_server_sends_them_to_a_collector(tmp_path: Path, provider: ProviderProcess) -> None:
    """What is still to be sent when it ends, too."""
    with collector() as (url, received):
        variables = {"ASKBOT_OTEL": "on", "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "chat-of-ours"}
        with askbot(tmp_path, upstream=provider.url, **variables) as server:
            async with reading(server.url) as reader:
                await reader.answer("say:What nobody else may read")
            server.signal(15)
            assert await server.ended() == 0

    assert {path for path, _ in received} == {"/v1/traces", "/v1/metrics"}
    trace = ExportTraceServiceRequest.FromString(next(body for path, body in received if path == "/v1/traces"))
    [resource] = trace.resource_spans
    assert "chat-of-ours" in {attribute.value.string_value for attribute in resource.resource.attributes}
    assert [span.name for span in resource.scope_spans[0].spans] == ["chat scripted-1"]
    assert [body for _, body in received if b"nobody else" in body] == []


def test_nothing_of_it_is_imported_when_it_is_off() -> None:
    """It takes time and memory; an endpoint that is set for other programs does not turn it on."""
    program = "import sys, askbot_ws.server.app; print([name for name in sys.modules if 'opentelemetry.sdk' in name])"
    variables = environment(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables, check=True)

    assert ended.stdout.strip() == "[]"


async def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, with the setting's name."""
    monkeypatch.delitem(sys.modules, "askbot_ws.telemetry")
    monkeypatch.delattr(askbot_ws, "telemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(ConfigError, match=r"ASKBOT_OTEL: .* pip install 'askbot-ws\[otel\]'"):
        async with serving(ScriptedUpstream(), otel=True):
            pass


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"openai_api_key": "k"}, "openai"),
        ({"openai_base_url": "https://user:secret@llm.example:8443/v1"}, "llm.example"),
        ({"upstream": "tests.somewhere:answer"}, "function"),
        ({}, "embedded"),
    ],
)
def test_the_provider_has_a_name(settings: dict[str, str], name: str) -> None:
    """Of another API, its host, and nothing else of the URL."""
    assert provider_name(Settings.model_validate(settings)) == name
