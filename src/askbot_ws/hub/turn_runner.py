"""Turn runner: runs one turn, from its prompt to its end."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

import structlog

from ..core.context import ContextWindow, TokenEstimate
from ..core.prompt import Message, Prompt
from ..core.session import SessionMachine
from ..core.turn import TurnMachine, seq_of
from ..errors import AskbotError, ContextTooLong, Internal, QuotaExceeded, StoreError, UpstreamError
from ..events import Event, Failure
from ..metrics import Metrics
from ..store import Store
from ..upstream import Ending, ThinkingText, Upstream
from ..upstream.provider_errors import is_unexplained, may_be_length, summarize
from .admission import Admission
from .group_commit import GroupCommit
from .owner import Owner
from .policy import Policy
from .turn_slots import INTERNAL

MAX_ANSWER_CHARS = 4 * 2**20  # code points, reasoning included, after which an answer ends with reason `length`

log = structlog.get_logger(__name__)


class TurnRunner:
    """Asks the upstream and appends the answer to the log."""

    def __init__(
        self,
        upstream: Upstream,
        store: Store,
        policy: Policy,
        *,
        clock: Callable[[], float],
        group_commit: GroupCommit,
        append: Callable[[Owner, Sequence[Event]], None],
        metrics: Metrics,
        admission: Admission,
    ) -> None:
        """`group_commit` stores text; `append` stores the other events and starts what follows them."""
        self._admission = admission
        self._upstream = upstream
        self._store = store
        self.use_policy(policy)
        self._thinking = policy.thinking
        self._log_content = policy.log_content
        self._clock = clock
        self._group_commit = group_commit
        self._append = append
        self._metrics = metrics
        self._estimate = TokenEstimate()

    def use_policy(self, policy: Policy) -> None:
        """Make the prompts of further turns by this policy."""
        self._system = Message("system", policy.persona).encoded + b"," if policy.persona else b""
        self._context_tokens = max(256, policy.context_tokens - policy.max_tokens)  # tokens, the answer not counted

    async def run(self, owner: Owner, turn: TurnMachine) -> None:
        """Run a started turn to its end. Its task is cancelled only after the turn was ended by someone else."""
        try:
            await self._group_commit.wait_stored(
                owner
            )  # the question is stored first: after a crash it must not be answered twice
            ending = await self._stream_answer(owner, turn)
        except (StoreError, QuotaExceeded) as error:
            self.fail(owner, turn, error)  # it was logged where it was raised, or needs not be
        except UpstreamError as error:
            self._log_failure(owner, turn, error)
            if turn.charge is not None and not turn.has_text:
                turn.charge.counted_tokens = 0
            self.fail(owner, turn, error)
        except Exception as error:  # a fault in one turn must not end another
            log.exception("turn_failed", session=owner.session, turn=turn.id)
            self.fail(owner, turn, error if isinstance(error, AskbotError) else Internal())
        else:
            model = ending.model or self._model_of(turn)
            end = owner.state.end(turn, ending.reason, now=self._clock(), model=model, usage=ending.usage)
            self._append(owner, end)
        if self._log_content:
            text = turn.answer.decode()  # of an answer whose beginning is not kept, its end
            log.info("question_answered", session=owner.session, turn=turn.id, text=text)

    def _log_failure(self, owner: Owner, turn: TurnMachine, error: UpstreamError) -> None:
        self._metrics.upstream_errors[error.code] += 1
        failure = summarize(error)
        log.warning(
            "upstream_failed",
            session=owner.session,
            turn=turn.id,
            code=error.code,
            cause=failure.cause,
            hint=failure.hint,
            status=failure.status,
            type=failure.type,
            provider_code=failure.provider_code,
            text_chars=failure.text_chars,
            text=failure.text if self._log_content else None,
        )

    def fail(self, owner: Owner, turn: TurnMachine, error: AskbotError) -> None:
        """End a turn with reason `error`; does nothing where it has ended."""
        failure = Failure(
            code=error.code, message=error.message, retryable=error.retryable, retry_after=error.retry_after
        )
        end = owner.state.end(turn, "error", now=self._clock(), model=self._model_of(turn), error=failure)
        self._append(owner, end)

    def _model_of(self, turn: TurnMachine) -> str:
        return turn.options.model or self._upstream.model

    async def _stream_answer(self, owner: Owner, turn: TurnMachine) -> Ending:
        """Ask the upstream; where the prompt is, or may be, too long for the model, again with less history.

        Where it says that it is too long, history is halved until the prompt fits. Where it rejects the prompt without
        a reason, half of the history is tried once, and less with each question of the session that fails so. Where it
        fails in another way that a long prompt may cause, the session's next questions but one are sent with less.
        """
        state = owner.state
        context = state.context
        if context is None:
            context = state.context = await self._read_context(owner, turn)
        question = Message("user", turn.question).encoded
        room = self._estimate.bytes_for(self._context_tokens) - len(self._system) - len(question)
        history = _first_history(context, room, failures=state.length_failures)
        rejection: UpstreamError | None = None  # the first without a reason
        client = turn.charge.client if turn.charge is not None else INTERNAL
        tokens = self._estimate.tokens_in(len(self._system) + len(history) + len(question))
        await self._admission.reserve(turn, prompt_tokens=tokens, bytes_per_token=self._estimate.bytes_per_token)
        while True:
            pieces = (self._system, history, question)
            prompt = Prompt(pieces, turn.options, user=client.user, role=client.role)
            model = self._model_of(turn)
            log.debug("model_asked", session=owner.session, turn=turn.id, model=model, prompt_bytes=prompt.size)
            try:
                ending = await self._upstream.stream(prompt, self._text_handler(owner, turn))
            except UpstreamError as error:
                if turn.has_text:
                    raise
                if history and isinstance(error, ContextTooLong):
                    history = context.newest(prompt.size // 2 - len(self._system) - len(question))
                elif history and rejection is None and is_unexplained(error):
                    rejection = error
                    history = context.newest(len(history) >> (state.length_failures + 1))
                else:
                    failure, rejection = rejection or error, None
                    _count_failure(state, failure, history)
                    try:
                        raise failure from failure.__cause__
                    finally:
                        del failure  # else it would refer to itself, by its traceback and this frame
            else:
                _count_tokens(turn, ending)
                if ending.usage is not None:
                    self._estimate.update(prompt_bytes=prompt.size, prompt_tokens=ending.usage.input_tokens)
                if rejection is None:
                    state.length_failures = max(0, state.length_failures - 1)
                return ending

    def _text_handler(self, owner: Owner, turn: TurnMachine) -> Callable[[str], None]:
        """Return the function that is called with each piece of the answer and of the reasoning."""
        state, clock, commit, keep_thinking = owner.state, self._clock, self._group_commit.add_text, self._thinking
        max_chars = MAX_ANSWER_CHARS  # of the answer: the reasoning takes its part
        gaps, last = self._metrics.token_gap, 0.0  # when the last piece came; 0: none did
        gap_counts, gap_bounds = gaps.counts, gaps.bounds

        def on_text(piece: str) -> None:
            nonlocal max_chars, last
            now = clock()
            if type(piece) is not str and isinstance(piece, ThinkingText):
                events = state.add_thinking(turn, piece, now) if keep_thinking else []
                max_chars = MAX_ANSWER_CHARS - turn.thinking_chars
            else:
                events = state.add_text(turn, piece, now)
            if not events:
                return
            commit(owner, events)
            if last:  # as in `Histogram.observe`, without its call for each token
                gap = now - last
                gap_counts[bisect_left(gap_bounds, gap)] += 1
                gaps.sum += gap
            last = now
            if turn.chars > max_chars:
                self._append(owner, state.end(turn, "length", now=clock(), model=self._model_of(turn)))
                owner.cancel_task()

        return on_text

    async def _read_context(self, owner: Owner, turn: TurnMachine) -> ContextWindow:
        """Read the turns before this one from the store, newest first, until the context window is full."""
        context = ContextWindow(replaced_from=seq_of(turn.replaces) if turn.replaces else None)
        before = turn.seq
        while True:
            page = await self._store.turns(owner.session, before=before, limit=50)
            if not page or not context.add_older(page, budget=owner.state.context_bytes):
                return context
            before = page[0].from_ + 1


def _first_history(context: ContextWindow, room: int, *, failures: int) -> bytes:
    """The newest turns that fit `room` bytes; after two failures that may be due to their length half of that, ..."""
    history = context.newest(room)
    return context.newest(len(history) >> (failures - 1)) if failures > 1 else history


def _count_tokens(turn: TurnMachine, ending: Ending) -> None:
    """Note how many tokens an answer took, where that is known: what is refused without a usage was not asked."""
    if turn.charge is None:
        return
    if ending.usage is not None:
        turn.charge.counted_tokens = ending.usage.input_tokens + ending.usage.output_tokens
    elif ending.reason == "refused":
        turn.charge.counted_tokens = 0


def _count_failure(state: SessionMachine, error: UpstreamError, history: bytes) -> None:
    """Count a failure that a shorter history may avert: that of the next question is."""
    if history and may_be_length(error):
        state.length_failures += 1
