"""Telemetry: a span and metrics for each turn by OpenTelemetry, with the names of its conventions for generative AI.

Imported only where the setting `otel` is on, as it needs the extra `askbot-ws[otel]`. Questions and answers are never
sent; a session is sent as the hash that logs have.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.util.types import AttributeValue

from . import __version__
from .config import Settings
from .events import Done
from .logs import hash_session
from .upstream.api_config import is_openai

CLOSE_SECONDS = 3.0  # for what is still to be sent when the server ends
DURATION_BUCKETS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
TOKEN_BUCKETS = [4.0**power for power in range(14)]


class TurnTelemetry:
    """Makes a span and observations of each turn that ended (a `TurnObserver` of the hub)."""

    def __init__(
        self,
        tracer_provider: TracerProvider,
        meter_provider: MeterProvider,
        *,
        provider_name: str,
        close: Callable[[], None] = lambda: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Make one.

        Args:
            tracer_provider: Where spans go.
            meter_provider: Where metrics go.
            provider_name: `gen_ai.provider.name`: who provides the model.
            close: Sends what is still to be sent; it may block.
            wall_clock: Returns seconds since 1970.
        """
        self._tracer = tracer_provider.get_tracer("askbot_ws", __version__)
        meter = meter_provider.get_meter("askbot_ws", __version__)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens of prompts and answers.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )  # fmt: skip
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", "From asking the model to the end of its answer.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )  # fmt: skip
        self._first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk", "s", "From asking the model to its first text.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )  # fmt: skip
        self._provider_name = provider_name
        self._close = close
        self._wall_clock = wall_clock

    def turn_ended(self, done: Done, *, requested_model: str) -> None:
        """Make the span of a turn, from when the model was asked to now, and observe its tokens and times."""
        timing = done.timing
        seconds = max(0.0, timing.total - timing.queued)
        first = None if timing.first_token is None else max(0.0, timing.first_token - timing.queued)
        common: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._provider_name,
            "gen_ai.request.model": requested_model,
        }
        failed: dict[str, AttributeValue] = {"error.type": done.error.code} if done.error else {}
        self._make_span(done, requested_model, common | failed, seconds=seconds, first_chunk=first)
        self._duration.record(seconds, common | failed)
        if first is not None:
            self._first_chunk.record(first, common)
        if done.usage is not None:
            self._tokens.record(done.usage.input_tokens, common | {"gen_ai.token.type": "input"})
            self._tokens.record(done.usage.output_tokens, common | {"gen_ai.token.type": "output"})

    def _make_span(
        self,
        done: Done,
        requested_model: str,
        attributes: dict[str, AttributeValue],
        *,
        seconds: float,
        first_chunk: float | None,
    ) -> None:
        ended = self._wall_clock()
        span = self._tracer.start_span(
            f"chat {requested_model}",
            kind=SpanKind.CLIENT,
            start_time=int((ended - seconds) * 1e9),
            attributes=attributes
            | {
                "gen_ai.response.model": done.model,
                "gen_ai.response.finish_reasons": (done.reason,),
                "gen_ai.conversation.id": hash_session(done.session),
                "gen_ai.request.stream": True,
                "askbot.turn": done.turn,
                "askbot.queued_seconds": done.timing.queued,
            },
        )
        if done.usage is not None:
            span.set_attribute("gen_ai.usage.input_tokens", done.usage.input_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", done.usage.output_tokens)
        if first_chunk is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", first_chunk)
        if done.error is not None:
            span.set_status(Status(StatusCode.ERROR, done.error.code))
        span.end(int(ended * 1e9))

    async def close(self) -> None:
        """Send what is still to be sent, for at most `CLOSE_SECONDS`: nobody waits for a collector that is away."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def run() -> None:
            self._close()
            if not loop.is_closed():
                loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=run, name="askbot-telemetry", daemon=True).start()
        try:
            await asyncio.wait_for(closed.wait(), CLOSE_SECONDS)
        except TimeoutError:
            return


def open_telemetry(settings: Settings) -> TurnTelemetry:
    """Return the telemetry of a server.

    Providers that the program has set up are used; without them, OTLP over HTTP to where the variables of OpenTelemetry
    say (`OTEL_EXPORTER_OTLP_ENDPOINT`, by default this machine's port 4318).
    """
    name = provider_name(settings)
    tracers, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
    if isinstance(tracers, SdkTracerProvider) or isinstance(meters, SdkMeterProvider):
        return TurnTelemetry(tracers, meters, provider_name=name)
    detected = OTELResourceDetector().detect().attributes
    resource = Resource.create({"service.name": "askbot-ws", "service.version": __version__} | {**detected})
    own_tracers = SdkTracerProvider(resource=resource, shutdown_on_exit=False)
    own_tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    own_meters = SdkMeterProvider([reader], resource=resource, shutdown_on_exit=False)

    def close() -> None:
        own_tracers.shutdown()
        own_meters.shutdown()

    return TurnTelemetry(own_tracers, own_meters, provider_name=name, close=close)


def provider_name(settings: Settings) -> str:
    """Return who provides the model: `openai`, the host of another API, `function` or `embedded`."""
    if ":" in settings.upstream:
        return "function"
    if settings.openai_base_url and not is_openai(settings.openai_base_url):
        return urlsplit(settings.openai_base_url).hostname or "openai"
    return "openai" if settings.openai_api_key or settings.openai_base_url else "embedded"
