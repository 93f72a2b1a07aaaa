"""The embedded model: answers without a key and without a network, from a child process.

    open --> start --> up --dies--> pause --> start ...        one task owns this until close

The child speaks the OpenAI API, so an answer takes the way that every other takes, and a crash of native code costs
the answers that were running, no more.
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
from .model_process import Order
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
BANNER = (
    f"The embedded model answers: {weights.MODEL}, of demo quality, in English, and often wrong.\n"
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
WINDOW = 4096  # tokens of prompt and answer together
SLOTS = 2  # answers at a time

SLOT_WAIT = 60.0  # for the answers before
RESTART_WAIT = 20.0  # for a child to come up
START_LIMIT = 30.0
END_LIMIT = 2.0
NOTICE = 0.2
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # between a death and the next start
LONG_LIFE = 60.0  # after it, a death counts as the first again
LAST_WORDS = 4_000  # bytes of a child's log

PROGRAM = Path(__file__).with_name("model_process.py")

log = structlog.get_logger()


class EmbeddedUpstream:
    """SmolLM2 135M, run by xllamacpp."""

    model = weights.MODEL
    context_tokens = WINDOW // 2
    """How many tokens a prompt should have at most: more would fit, but takes one core above ten seconds to read."""

    def __init__(
        self, *, temperature: float | None = None, stall_timeout: float = 60.0, path: Path | None = None
    ) -> None:
        """`path` is where the weights are, if not where `askbot model install` puts them."""
        self.pid: int | None = None  # the child's, while it is up
        self._temperature = TEMPERATURE if temperature is None else temperature
        self._stall_timeout = stall_timeout
        self._path = path
        self._slots = asyncio.Semaphore(SLOTS)
        self._api: asyncio.Future[OpenAIUpstream]  # of the child that is up, or will be
        self._owner: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Check the weights and start the child. Raises `ConfigError`."""
        path = await asyncio.to_thread(weights.check, self._path or weights.find())
        self._api = asyncio.Future()
        self._owner = asyncio.create_task(self._supervise(path, self._api), name="embedded model")
        try:
            await asyncio.shield(self._api)
        except BaseException:
            await self.close()
            raise

    async def stream(self, prompt: Prompt, on_text: Callable[[str], None]) -> Ending:
        """Answer; within limits also after other answers, and after a restart of the child."""
        prompt = replace(prompt, options=replace(prompt.options, model=None))
        text = _Watched(on_text)
        async with self._slot():
            try:
                ending = await (await self._wait_for_api()).stream(prompt, text)
            except UpstreamUnavailable:
                if text.began:
                    raise
                await asyncio.sleep(NOTICE)  # perhaps its child has just died, and is not yet known to be dead
                ending = await (await self._wait_for_api()).stream(prompt, text)
        return replace(ending, model=self.model)

    async def ping(self) -> None:
        """Raises `UpstreamError` while there is no child that answers."""
        if self.pid is None:
            raise UpstreamUnavailable
        await self._api.result().ping()

    async def close(self) -> None:
        """End the child; bounded."""
        if self._owner is None:
            return
        self._owner.cancel()
        await asyncio.wait((self._owner,))
        if not self._api.done():
            self._api.set_exception(UpstreamUnavailable())
            self._api.exception()  # seen, whether or not a question waits for it

    # --- what a question waits for ---

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        """Wait here: in the child it would look like a stall."""
        try:
            async with asyncio.timeout(SLOT_WAIT):
                await self._slots.acquire()
        except TimeoutError:
            raise UpstreamRateLimited from None
        try:
            yield
        finally:
            self._slots.release()

    async def _wait_for_api(self) -> OpenAIUpstream:
        try:
            async with asyncio.timeout(RESTART_WAIT):
                return await asyncio.shield(self._api)
        except TimeoutError:
            raise UpstreamUnavailable from None

    # --- one child after another ---

    async def _supervise(self, path: Path, first: asyncio.Future[OpenAIUpstream]) -> None:
        """Keep a child up. That the first one can't start is for `open` to tell."""
        pause = 0.0
        while True:
            born = time.monotonic()
            try:
                death = await self._live(path)
            except _StartError as error:
                if not first.done():
                    first.set_exception(ConfigError(f"The embedded model does not start: {error}"))
                    return
                death = "not started"
            lived = time.monotonic() - born
            pause = FIRST_PAUSE if lived >= LONG_LIFE else min(LONGEST_PAUSE, max(FIRST_PAUSE, pause * 2))
            log.warning("model_process_exited", death=death, lived_s=round(lived, 1), restart_in_s=pause)
            await asyncio.sleep(pause)

    async def _live(self, path: Path) -> str:
        """A child's life, and what ended it."""
        born, key = time.monotonic(), secrets.token_hex(16)
        async with _child() as child:
            api = self._api_of(await child.start(_order(path, key)), key)
            await api.open()
            log.info("model_process_started", pid=child.pid, start_s=round(time.monotonic() - born, 2))
            self.pid = child.pid
            self._api.set_result(api)
            try:
                return await child.death()
            finally:
                self.pid, self._api = None, asyncio.Future()
                await api.close()

    def _api_of(self, url: str, key: str) -> OpenAIUpstream:
        return OpenAIUpstream(
            model=self.model,
            base_url=f"{url}/v1",
            api_key=key,
            temperature=self._temperature,
            max_tokens=MAX_TOKENS,
            stall_timeout=self._stall_timeout,
            retries=0,  # a child that failed is gone, and its port with it
            transport="direct",  # whatever proxy the environment names
            body=SAMPLING,
        )


class _Watched:
    """`on_text`, and whether there was any."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.began = False
        self._on_text = on_text

    def __call__(self, text: str) -> None:
        self.began = self.began or bool(text)
        self._on_text(text)


class _StartError(Exception):
    """A child that did not load the model; its last words."""


class _Child:
    """The process. What it promises is in model_process.py."""

    def __init__(self, process: Process) -> None:
        self.pid = process.pid
        self._process = process
        self._words = bytearray()
        self._listener = asyncio.create_task(self._listen())

    async def start(self, order: Order) -> str:
        """Give the order; its address once the model is loaded. Raises `_StartError`."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018  both are pipes
        try:
            async with asyncio.timeout(START_LIMIT):
                stdin.write(json.dumps(order).encode() + b"\n")
                return str(json.loads(await stdout.readline())["url"])
        except (OSError, ValueError) as error:
            await self.end()
            raise _StartError(self._words.decode(errors="replace").strip() or repr(error)) from error

    async def death(self) -> str:
        """Wait for it."""
        code = await self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit {code}"

    async def end(self) -> None:
        """Close its stdin, which is the order to leave; kill it where that does not help."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(END_LIMIT):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._listener

    async def _listen(self) -> None:
        """Read its log, or it would block; keep the end of it."""
        while self._process.stderr and (words := await self._process.stderr.read(LAST_WORDS)):
            self._words += words
            del self._words[:-LAST_WORDS]


@asynccontextmanager
async def _child() -> AsyncGenerator[_Child]:
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(PROGRAM), stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
    except OSError as error:
        raise _StartError(str(error)) from error
    child = _Child(process)
    try:
        yield child
    finally:
        await child.end()


def _order(path: Path, key: str) -> Order:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return Order(
        weights=str(path),
        name=weights.MODEL,
        key=key,
        slots=SLOTS,
        context=WINDOW,
        threads=max(1, min(4, cores - 1)),  # one is left for the server: threads that wait for a core cost twice
    )
