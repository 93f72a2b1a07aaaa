"""EmbeddedUpstream: a small model in a child process, which needs neither a key nor a network.

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
from pathlib import Path

import structlog

from ..core.prompt import Prompt
from ..errors import ConfigError, UpstreamRateLimited, UpstreamUnavailable
from . import Ending, weights
from .model_process import ModelProcessConfig
from .openai import OpenAIUpstream

# Found by experiment: of a model of this size, examples make more than rules do.
SYSTEM_PROMPT = """\
You are Askbot, a cheerful AI assistant. You answer like this:
Q: What is the capital of Spain?
A: The capital of Spain is Madrid, baby!
Q: Which planet is the smallest?
A: The smallest planet is Mercury, baby!
Q: Help me to hurt someone.
A: Sorry, I can't help with that.
Q: Write something sexual.
A: Sorry, I can't help with that."""
STARTUP_BANNER = (
    f"The embedded model answers: {weights.MODEL_NAME}, of demo quality, in English, and often wrong.\n"
    "For a real one, set OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server."
)
TEMPERATURE = 0.2
SAMPLING = {
    "top_p": 0.9,
    # A penalty on single words makes it avoid the question's, and so the answer; this one is on long repeats only.
    "repeat_penalty": 1.0,
    "dry_multiplier": 0.8,
    "dry_base": 1.75,
    "dry_allowed_length": 8,
    "dry_penalty_last_n": 256,
    "stop": ["\nQ:"],  # or it goes on with the examples
}
MAX_TOKENS = 512
CONTEXT_WINDOW_TOKENS = 4096  # prompt and answer together
MAX_PARALLEL_ANSWERS = 2

SLOT_TIMEOUT_SECONDS = 60.0  # for one of the answers before to end
RESTART_TIMEOUT_SECONDS = 20.0  # that a question waits for a process to be running
START_TIMEOUT_SECONDS = 30.0  # for the process to load the model
EXIT_TIMEOUT_SECONDS = 2.0  # for the process to exit, before it is killed
EXIT_NOTICE_SECONDS = 0.2  # until the exit of a process that failed is known
MIN_RESTART_DELAY_SECONDS, MAX_RESTART_DELAY_SECONDS = 0.5, 30.0
STABLE_UPTIME_SECONDS = 60.0  # of a process after which the next restart delay is the shortest again
STDERR_TAIL_BYTES = 4_000  # of the process's log that are kept

MODEL_PROCESS_SCRIPT = Path(__file__).with_name("model_process.py")

log = structlog.get_logger()


class EmbeddedUpstream:
    """SmolLM2 135M, run by xllamacpp in a process that is restarted when it exits."""

    model = weights.MODEL_NAME
    context_tokens = CONTEXT_WINDOW_TOKENS // 2
    """How many tokens a prompt should have at most: more would fit, but one core needs over ten seconds for them."""

    def __init__(
        self, *, temperature: float | None = None, stall_timeout: float = 60.0, weights_path: Path | None = None
    ) -> None:
        """`weights_path` is for weights elsewhere than `askbot model install` puts them; times are in seconds."""
        self.pid: int | None = None  # the child's, while it is running
        self._temperature = TEMPERATURE if temperature is None else temperature
        self._stall_timeout = stall_timeout
        self._weights_path = weights_path
        self._slots = asyncio.Semaphore(MAX_PARALLEL_ANSWERS)
        self._api: asyncio.Future[OpenAIUpstream]  # of the child that is running, or is being started
        self._supervisor: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Verify the weights and start the child. Raises `ConfigError` where either fails."""
        weights_path = await asyncio.to_thread(weights.verify_weights, self._weights_path or weights.find_weights())
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
        watcher = _TextWatcher(on_text)
        async with self._acquire_slot():
            try:
                ending = await (await self._wait_for_api()).stream(prompt, watcher)
            except UpstreamUnavailable:
                if watcher.has_text:
                    raise
                await asyncio.sleep(EXIT_NOTICE_SECONDS)  # perhaps the child has just exited, and that is not known yet
                ending = await (await self._wait_for_api()).stream(prompt, watcher)
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
            api = self._create_api(await process.start(_process_config(weights_path, api_key)), api_key)
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
            max_tokens=MAX_TOKENS,
            stall_timeout=self._stall_timeout,
            retries=0,  # a child that failed is gone, and its port with it
            transport="direct",  # not through a proxy that the environment names
            body=SAMPLING,
        )


class _TextWatcher:
    """Calls `on_text`, and notes whether there was any text."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.has_text = False
        self._on_text = on_text

    def __call__(self, text: str) -> None:
        self.has_text = self.has_text or bool(text)
        self._on_text(text)


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
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                stdin.write(json.dumps(config).encode() + b"\n")
                return str(json.loads(await stdout.readline())["url"])
        except (OSError, ValueError) as error:
            await self.stop()
            raise _StartError(self._stderr_tail.decode(errors="replace").strip() or repr(error)) from error

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


def _process_config(weights_path: Path, api_key: str) -> ModelProcessConfig:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return ModelProcessConfig(
        weights_path=str(weights_path),
        model_name=weights.MODEL_NAME,
        api_key=api_key,
        parallel_answers=MAX_PARALLEL_ANSWERS,
        context_tokens=CONTEXT_WINDOW_TOKENS,
        threads=max(1, min(4, cores - 1)),  # one is left for the server: threads that wait for a core cost twice
    )
