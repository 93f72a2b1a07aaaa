"""EmbeddedUpstream: a model in a child process, which needs neither a key nor a network.

    open --> start --> running --exits--> delay --> start ...        one task, until close

The child serves the OpenAI API, so answers are requested as from any other provider, and a crash of native code costs
only the answers that were running.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import structlog

from ..core.prompt import Prompt
from ..errors import ConfigError, UpstreamRateLimited, UpstreamUnavailable
from . import Ending, weights
from .answer_filter import AnswerFilter
from .embedded_model import MAX_PARALLEL_ANSWERS, SMOLLM2, EmbeddedModel
from .model_process import ModelProcessConfig
from .openai import OpenAIUpstream

SLOT_TIMEOUT_SECONDS = 60.0  # for one of the answers before to end
RESTART_TIMEOUT_SECONDS = 20.0  # that a question waits for a process to be running
START_TIMEOUT_SECONDS = 30.0  # for the process to load the model, and a second more for each
LOADED_BYTES_PER_SECOND = 100e6  # of its file
EXIT_TIMEOUT_SECONDS = 2.0  # for the process to exit, before it is killed
EXIT_NOTICE_SECONDS = 0.2  # until the exit of a process that failed is known
MIN_RESTART_DELAY_SECONDS, MAX_RESTART_DELAY_SECONDS = 0.5, 30.0
STABLE_UPTIME_SECONDS = 60.0  # of a process after which the next restart delay is the shortest again
STDERR_TAIL_BYTES = 4_000  # of the process's log that are kept

MODEL_PROCESS_SCRIPT = Path(__file__).with_name("model_process.py")

log = structlog.get_logger()


class EmbeddedUpstream:
    """A model, run by xllamacpp in a process that is restarted when it exits."""

    def __init__(
        self,
        model: EmbeddedModel = SMOLLM2,
        *,
        temperature: float | None = None,
        max_tokens: int = 1024,
        stall_timeout: float = 60.0,
        weights_path: Path | None = None,
    ) -> None:
        """Configure it; nothing is started before `open`.

        Args:
            model: What runs.
            temperature: For questions that name none; None: the model's.
            max_tokens: For questions that name none.
            stall_timeout: For the next byte of an answer to arrive, in seconds.
            weights_path: SmolLM2's weights, where they are elsewhere than `askbot model install` puts them.
        """
        self.pid: int | None = None  # the child's, while it is running
        self._model = model
        self._temperature = model.temperature if temperature is None else temperature
        self._max_tokens = max_tokens
        self._stall_timeout = stall_timeout
        self._weights_path = weights_path
        self._slots = asyncio.Semaphore(MAX_PARALLEL_ANSWERS)
        self._api: asyncio.Future[OpenAIUpstream]  # of the child that is running, or is being started
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def context_tokens(self) -> int:
        """How many tokens a prompt should have at most."""
        return self._model.context_tokens

    async def open(self) -> None:
        """Verify the weights and start the child. Raises `ConfigError` where either fails."""
        weights_path = await asyncio.to_thread(self._verify_weights)
        self._api = asyncio.Future()
        self._supervisor = asyncio.create_task(self._supervise(weights_path, self._api), name="embedded model")
        try:
            await asyncio.shield(self._api)
        except BaseException:
            await self.close()
            raise

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer a prompt, if necessary after waiting for other answers or for a restart of the child.

        Raises `UpstreamRateLimited` after `SLOT_TIMEOUT_SECONDS`, `UpstreamUnavailable` where no child is running.
        """
        prompt = replace(prompt, options=replace(prompt.options, model=None))
        async with self._acquire_slot():
            answer = self._filter_answer(on_text)
            try:
                ending = await self._stream_answer(prompt, answer)
            except UpstreamUnavailable:
                if answer.has_text:
                    raise
                await asyncio.sleep(EXIT_NOTICE_SECONDS)  # perhaps the child has just exited, and that is not known yet
                ending = await self._stream_answer(prompt, self._filter_answer(on_text))
        return replace(ending, model=self.model)

    async def ping(self) -> None:
        """Check that the child answers. Raises `UpstreamError` where it does not, or there is none."""
        if self.pid is None:
            raise UpstreamUnavailable
        await self._api.result().ping()

    async def close(self) -> None:
        """Stop the child, within `EXIT_TIMEOUT_SECONDS`."""
        if self._supervisor is None:
            return
        self._supervisor.cancel()
        await asyncio.wait((self._supervisor,))
        if not self._api.done():
            self._api.set_exception(UpstreamUnavailable())
            self._api.exception()  # retrieved, whether or not a question waits for it

    def _filter_answer(self, on_text: Callable[[str], None]) -> AnswerFilter:
        model = self._model
        return AnswerFilter(on_text, prefix=model.answer_prefix, sentences=model.ends_repeated_sentences)

    async def _stream_answer(self, prompt: Prompt, answer: AnswerFilter) -> Ending:
        """Stream from the child that is running. An answer that repeats itself is stopped there, and complete."""
        api = await self._wait_for_api()
        try:
            async with asyncio.timeout(None) as until_repeat:
                answer.on_repeat = partial(until_repeat.reschedule, 0)
                ending = await api.stream(prompt, answer)
        except TimeoutError:
            if not answer.repeats:
                raise
            return Ending("stop")
        answer.finish()
        return ending

    # --- waiting ---

    @asynccontextmanager
    async def _acquire_slot(self) -> AsyncGenerator[None]:
        """Hold one of `MAX_PARALLEL_ANSWERS`. The wait is here because in the child it would look like a stall."""
        try:
            async with asyncio.timeout(SLOT_TIMEOUT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise UpstreamRateLimited from None
        try:
            yield
        finally:
            self._slots.release()

    async def _wait_for_api(self) -> OpenAIUpstream:
        try:
            async with asyncio.timeout(RESTART_TIMEOUT_SECONDS):
                return await asyncio.shield(self._api)
        except TimeoutError:
            raise UpstreamUnavailable from None

    # --- supervision ---

    def _verify_weights(self) -> Path:
        if self._model.path is None:
            return weights.verify_weights(self._weights_path or weights.find_weights())
        weights.require_engine()
        return self._model.path

    async def _supervise(self, weights_path: Path, first_api: asyncio.Future[OpenAIUpstream]) -> None:
        """Start the child, again whenever it exits. If the first one can't start, `first_api` gets a `ConfigError`."""
        delay = 0.0
        while True:
            started_at = time.monotonic()
            try:
                exit_status = await self._run_model_process(weights_path)
            except _StartError as error:
                if not first_api.done():
                    first_api.set_exception(ConfigError(f"The embedded model does not start: {error}"))
                    return
                exit_status = "not started"
            uptime = time.monotonic() - started_at
            delay = 0.0 if uptime >= STABLE_UPTIME_SECONDS else delay * 2
            delay = min(MAX_RESTART_DELAY_SECONDS, max(MIN_RESTART_DELAY_SECONDS, delay))
            log.warning("model_process_exited", death=exit_status, lived_s=round(uptime, 1), restart_in_s=delay)
            await asyncio.sleep(delay)

    async def _run_model_process(self, weights_path: Path) -> str:
        """Start a child and wait until it exits; returns its exit status in words. Raises `_StartError`."""
        started_at, api_key = time.monotonic(), secrets.token_hex(16)
        async with _spawn_model_process() as process:
            config = _process_config(self._model, weights_path, api_key)
            api = self._create_api(await process.start(config), api_key)
            await api.open()
            log.info("model_process_started", pid=process.pid, start_s=round(time.monotonic() - started_at, 2))
            self.pid = process.pid
            self._api.set_result(api)
            try:
                return await process.wait()
            finally:
                self.pid, self._api = None, asyncio.Future()
                await api.close()

    def _create_api(self, url: str, api_key: str) -> OpenAIUpstream:
        return OpenAIUpstream(
            model=self.model,
            base_url=f"{url}/v1",
            api_key=api_key,
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            stall_timeout=self._stall_timeout,
            retries=0,  # a child that failed is gone, and its port with it
            transport="direct",  # not through a proxy that the environment names
            body=self._model.sampling,
        )


class _StartError(Exception):
    """The child did not load the model; the message is the end of its log."""


class _ModelProcess:
    """The child process. model_process.py describes how to talk to it."""

    def __init__(self, process: Process) -> None:
        self.pid = process.pid
        self._process = process
        self._stderr_tail = bytearray()
        self._stderr_reader = asyncio.create_task(self._read_stderr())

    async def start(self, config: ModelProcessConfig) -> str:
        """Send the config; returns the API's address once the model is loaded. Raises `_StartError`."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018  both are pipes
        seconds = _start_timeout(Path(config["weights_path"]))
        try:
            async with asyncio.timeout(seconds):
                stdin.write(json.dumps(config).encode() + b"\n")
                line = await stdout.readline()
                report: dict[str, str] = json.loads(line) if line.endswith(b"\n") else {}
                return report["url"] if "url" in report else await self._raise_exited(report.get("error"))
        except TimeoutError as error:
            await self.stop()
            raise _StartError(f"{self._log}\nIt did not load within {seconds:.0f} s.".strip()) from error

    async def _raise_exited(self, error: str | None) -> NoReturn:
        """Wait until it exits, since its log may be late until then, and raise `_StartError` with the log."""
        exit_status = await self.wait()
        await self._stderr_reader
        raise _StartError(f"{self._log}\n{error or exit_status}".strip())

    @property
    def _log(self) -> str:
        return self._stderr_tail.decode(errors="replace").strip()

    async def wait(self) -> str:
        """Wait until it exits; returns "exit CODE" or "signal NUMBER"."""
        exit_code = await self._process.wait()
        return f"signal {-exit_code}" if exit_code < 0 else f"exit {exit_code}"

    async def stop(self) -> None:
        """Close its stdin, so that it exits; kill it after `EXIT_TIMEOUT_SECONDS`."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(EXIT_TIMEOUT_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._stderr_reader

    async def _read_stderr(self) -> None:
        """Read its log, or it would block, and keep the last `STDERR_TAIL_BYTES`."""
        while self._process.stderr and (data := await self._process.stderr.read(STDERR_TAIL_BYTES)):
            self._stderr_tail += data
            del self._stderr_tail[:-STDERR_TAIL_BYTES]


@asynccontextmanager
async def _spawn_model_process() -> AsyncGenerator[_ModelProcess]:
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(MODEL_PROCESS_SCRIPT), stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
    except OSError as error:
        raise _StartError(str(error)) from error
    model_process = _ModelProcess(process)
    try:
        yield model_process
    finally:
        await model_process.stop()


def _start_timeout(weights_path: Path) -> float:
    """Seconds for the process to load these weights. Raises `_StartError` where they are gone."""
    try:
        return START_TIMEOUT_SECONDS + weights_path.stat().st_size / LOADED_BYTES_PER_SECOND
    except OSError as error:
        raise _StartError(str(error)) from error


def _process_config(model: EmbeddedModel, weights_path: Path, api_key: str) -> ModelProcessConfig:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return ModelProcessConfig(
        weights_path=str(weights_path),
        model_name=model.name,
        api_key=api_key,
        parallel_answers=MAX_PARALLEL_ANSWERS,
        context_tokens=model.window_tokens,
        # One core is left for the server: threads that wait for a core cost twice.
        threads=max(1, min(model.max_threads, cores - 1)),
    )
