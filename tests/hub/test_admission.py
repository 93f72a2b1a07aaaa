"""Admission: what questions cost their clients, and what is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from askbot_ws.core.allowance import Allowance, Allowances, Rates
from askbot_ws.core.commands import Ask, Cancel, Forget, Fork, Retry
from askbot_ws.core.load import LoadLevel
from askbot_ws.core.principal import ANONYMOUS, Principal
from askbot_ws.core.token_budget import day_of, seconds_to_midnight
from askbot_ws.errors import (
    AskbotError,
    Forbidden,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    StoreError,
    Unauthorized,
    UpstreamUnavailable,
)
from askbot_ws.events import Options, Usage
from askbot_ws.hub import Hub, Policy
from askbot_ws.hub.local_limits import LocalLimits
from askbot_ws.hub.session_counts import SessionCounts
from askbot_ws.testing import ScriptedUpstream, Step
from askbot_ws.upstream import Ending

from .fakes import CheckedReader, Clock, FragileStore, hub_of, run_ticks

ANN = Principal(user="ann")
OLD = Principal(user="ann", credential="key:old")
USAGE = Ending("stop", usage=Usage(input_tokens=30, output_tokens=20))


def reader_for(hub: Hub, principal: Principal = ANN) -> CheckedReader:
    reader = CheckedReader(hub.create(principal))
    hub.attach(reader.topic, reader)
    return reader


async def ask(hub: Hub, reader: CheckedReader, text: str = "why?", who: Principal = ANN, **fields: str) -> None:
    await hub.command(who, reader.session, Ask(text, id=fields.get("id")), address=fields.get("address", ""))


async def refused(
    hub: Hub, reader: CheckedReader, kind: type[AskbotError], text: str = "why?", who: Principal = ANN
) -> AskbotError:
    """A question that is refused is not in the log."""
    before = len(reader.events)
    with pytest.raises(kind) as caught:
        await ask(hub, reader, text, who)
    assert len(reader.events) == before
    return caught.value


async def used_today(store: FragileStore, key: str = "ann", *, now: float = Clock().now) -> int:
    await run_ticks()
    return await store.add_usage(key, day_of(now), 0)


# --- rates -----------------------------------------------------------------------------------------------------------


async def test_questions_have_a_rate_per_user_and_per_address() -> None:
    """Told with when the next is taken; asked again with the same id costs nothing; a retry is a question."""
    clock = Clock()
    async with hub_of(clock=clock, allowances=Allowances(Allowance(rates=Rates(questions=3)))) as hub:
        reader, other = reader_for(hub), reader_for(hub, ANONYMOUS)
        await ask(hub, reader, id="q")
        await reader.done()
        await ask(hub, reader, id="q")
        await ask(hub, reader)
        await reader.done(2)
        await hub.command(ANN, reader.session, Retry())
        await reader.done(3)
        error = await refused(hub, reader, RateLimited)
        with pytest.raises(RateLimited):
            await hub.fork(ANN, reader.session, Fork("t1"))
        for number in range(3):
            await ask(hub, other, str(number), ANONYMOUS, address="2001:db8::1")
        with pytest.raises(RateLimited):
            await ask(hub, other, "4", ANONYMOUS, address="2001:db8::ffff")
        await ask(hub, other, "5", ANONYMOUS, address="192.0.2.1")
        assert error.retry_after == 20.0
        clock.now += 20.0
        await ask(hub, reader)


async def test_tokens_have_a_rate_that_is_settled_by_what_was_used() -> None:
    """Reserved at the question by an estimate, the answer's whole length with it; a cancelled one gives it back."""
    held = asyncio.Event()
    rates = Rates(tokens=1000)
    scripts: Sequence[Sequence[Step]] = [[USAGE], ["so ", held]]
    async with hub_of(*scripts, policy=Policy(max_tokens=800), allowances=Allowances(Allowance(rates=rates))) as hub:
        reader = reader_for(hub)
        await ask(hub, reader)
        await reader.done()
        await run_ticks()
        await ask(hub, reader)  # 50 of 1000 were used
        await reader.heard("so ")
        await refused(hub, reader, RateLimited)
        await hub.command(ANN, reader.session, Cancel())
        await run_ticks()
        await ask(hub, reader)


# --- budgets ---------------------------------------------------------------------------------------------------------


def with_budget(tokens: int, **more: Allowance) -> Allowances:
    return Allowances(Allowance(tokens_per_day=tokens), more)


async def test_a_budget_is_reserved_at_the_start_and_settled_at_the_end() -> None:
    """By the provider's count; the refusal says when the day ends, and the next day begins anew."""
    store, wall, held = FragileStore(), Clock(), asyncio.Event()
    policy = Policy(max_tokens=500)
    async with hub_of(
        [held, USAGE], [USAGE], store=store, policy=policy, wall_clock=wall, allowances=with_budget(1000)
    ) as hub:
        reader = reader_for(hub)
        await ask(hub, reader)
        await run_ticks()
        error = await refused(hub, reader_for(hub), QuotaExceeded)
        assert error.retry_after == pytest.approx(seconds_to_midnight(wall.now))
        assert await used_today(store) == 0
        held.set()
        await reader.done()
        assert await used_today(store) == 50
        await ask(hub, reader)
        await reader.done(2)
        await store.add_usage("ann", day_of(wall.now), 850)
    async with hub_of(store=store, policy=policy, wall_clock=wall, allowances=with_budget(1000)) as hub:
        reader = reader_for(hub)
        await refused(hub, reader, QuotaExceeded)
        wall.now += seconds_to_midnight(wall.now)
        await ask(hub, reader)
        await reader.done()


async def test_what_is_not_counted_by_the_provider_is_estimated() -> None:
    """A cancelled answer by prompt and text, one that never began by nothing."""
    store, held = FragileStore(), asyncio.Event()
    scripts: Sequence[Sequence[Step]] = [
        ["x" * 2857, held],
        [UpstreamUnavailable()],
        [Ending("refused")],
        ["y" * 2857, UpstreamUnavailable()],
    ]
    async with hub_of(*scripts, store=store, allowances=with_budget(100_000)) as hub:
        reader = reader_for(hub)
        await ask(hub, reader)
        await reader.heard("x")
        await hub.command(ANN, reader.session, Cancel())
        cancelled = await used_today(store)
        assert 1000 < cancelled < 1040
        for number in (2, 3):
            await ask(hub, reader)
            await reader.done(number)
            assert await used_today(store) == cancelled
        await ask(hub, reader)
        await reader.done(4)
        assert 3000 < await used_today(store) < 3100


async def test_a_turn_for_which_nothing_is_left_ends_with_the_error() -> None:
    """It was acknowledged when there was something left; the model is not asked."""
    held = asyncio.Event()
    upstream = ScriptedUpstream([held, Ending("stop", usage=Usage(input_tokens=900, output_tokens=50))])
    async with hub_of(upstream=upstream, policy=Policy(max_tokens=400), allowances=with_budget(1000)) as hub:
        reader = reader_for(hub)
        await ask(hub, reader)
        await ask(hub, reader)
        held.set()
        done = await reader.done(2)
        assert done.error is not None
        assert (done.error.code, done.error.retry_after is not None, len(upstream.prompts)) == (
            "quota_exceeded",
            True,
            1,
        )


async def test_a_count_that_could_not_be_stored_is_stored_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds in memory meanwhile; a server that stops stores it before it has ended."""
    store = FragileStore()
    scripts = [USAGE], [Ending("stop", usage=Usage(input_tokens=100, output_tokens=50))]
    async with hub_of(*scripts, store=store, policy=Policy(max_tokens=100), allowances=with_budget(250)) as hub:
        reader = reader_for(hub)
        await ask(hub, reader)
        add_usage, broken = store.add_usage, asyncio.Event()

        async def fail(user: str, day: str, tokens: int) -> int:
            if broken.is_set():
                return await add_usage(user, day, tokens)
            raise StoreError

        monkeypatch.setattr(store, "add_usage", fail)
        await reader.done()
        await run_ticks()
        assert await add_usage("ann", day_of(Clock().now), 0) == 0
        await ask(hub, reader)
        await reader.done(2)
        await refused(hub, reader, QuotaExceeded)
        broken.set()
    assert await used_today(store) == 200


async def test_an_answer_that_a_crash_ended_is_counted_by_an_estimate() -> None:
    """What was reserved for it is gone with its process."""
    store, held = FragileStore(), asyncio.Event()
    async with hub_of(["x" * 2857, held], store=store, allowances=with_budget(100_000)) as hub:
        reader = reader_for(hub)
        await ask(hub, reader)
        await reader.heard("x")
        store.unfinished = [reader.session]
        wall = Clock()
        wall.now = time.time()  # the store removes counts of old days when it is opened
        async with hub_of(store=store, wall_clock=wall, allowances=with_budget(100_000)):
            assert 1000 < await used_today(store, now=wall.now) < 1010


async def test_roles_have_budgets_of_their_own_and_addresses_too() -> None:
    """A role of 0 tokens asks nothing; anonymous clients are counted by their address."""
    store = FragileStore()
    allowances = with_budget(2000, none=Allowance(tokens_per_day=0), free=Allowance())
    async with hub_of([USAGE], [USAGE], store=store, allowances=allowances) as hub:
        reader = reader_for(hub)
        with pytest.raises(QuotaExceeded):
            await ask(hub, reader, who=Principal(user="ann", role="none"))
        await ask(hub, reader, who=Principal(user="ann", role="free"))
        await reader.done()
        assert await used_today(store) == 0
        other = reader_for(hub, ANONYMOUS)
        await ask(hub, other, who=ANONYMOUS, address="192.0.2.1")
        await other.done()
        assert (await used_today(store), await used_today(store, " 192.0.2.1")) == (0, 50)


# --- sessions --------------------------------------------------------------------------------------------------------


async def test_a_user_has_so_many_sessions_and_deleting_one_makes_room() -> None:
    """Forks count; those of others, and of nobody, do not. They are counted by what is stored."""
    store, clock = FragileStore(), Clock()
    allowances = Allowances(Allowance(sessions=2))
    async with hub_of(store=store, clock=clock, allowances=allowances) as hub:
        first, second = reader_for(hub), reader_for(hub)
        await ask(hub, first)
        await first.done()
        await hub.fork(ANN, first.session, Fork("t1", id="f"))
        await refused(hub, second, QuotaExceeded)
        with pytest.raises(QuotaExceeded):
            await hub.fork(ANN, first.session, Fork("t1"))
        await hub.fork(ANN, first.session, Fork("t1", id="f"))
        await ask(hub, first)
        await ask(hub, reader_for(hub, ANONYMOUS), who=ANONYMOUS)
    async with hub_of(store=store, clock=clock, allowances=allowances) as hub:
        second = reader_for(hub)
        await refused(hub, second, QuotaExceeded)
        await store.inner.forget(first.session)
        await refused(hub, second, QuotaExceeded)  # the count is a minute old at most
        clock.now += 61
        await ask(hub, second)


async def test_a_session_without_a_question_is_no_room_for_another() -> None:
    """It was not counted when it was made, so it is not when it is deleted."""
    async with hub_of(allowances=Allowances(Allowance(sessions=1))) as hub:
        await ask(hub, reader_for(hub))
        await hub.command(ANN, reader_for(hub).session, Forget())
        await refused(hub, reader_for(hub), QuotaExceeded)


async def test_a_user_has_more_sessions_than_a_new_limit_allows() -> None:
    """All of them count, whatever the limit was when they were first counted."""
    plain = Allowance(sessions=4)
    async with hub_of(allowances=Allowances(plain)) as hub:
        readers = [reader_for(hub) for _ in range(4)]
        for reader in readers:
            await ask(hub, reader)
            await reader.done()
        hub.apply_limits(Allowances(Allowance(sessions=2)), max_turns=9, max_queued=9)
        limits = hub.admission.limits
        assert isinstance(limits, LocalLimits)
        limits.sessions = SessionCounts(hub.store, clock=Clock())  # as after a restart
        await refused(hub, reader_for(hub), QuotaExceeded)
        for reader in readers[:2]:
            await hub.command(ANN, reader.session, Forget())
        await refused(hub, reader_for(hub), QuotaExceeded)
        await refused(hub, reader_for(hub), QuotaExceeded)
        hub.apply_limits(Allowances(plain), max_turns=9, max_queued=9)
        for _ in range(2):
            await ask(hub, reader_for(hub))
        await refused(hub, reader_for(hub), QuotaExceeded)


async def test_sessions_that_begin_at_the_same_time_are_counted() -> None:
    """All of them, though they are first counted for each."""
    async with hub_of(store=FragileStore(), allowances=Allowances(Allowance(sessions=2))) as hub:
        asked = [ask(hub, reader_for(hub)) for _ in range(5)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [outcome is None for outcome in outcomes].count(True) == 2


async def test_no_user_is_the_client_of_an_address() -> None:
    """Whatever they call themselves, nobody there has less for it."""
    mallory = Principal(user="@192.0.2.1")
    async with hub_of(allowances=Allowances(Allowance(rates=Rates(questions=1)))) as hub:
        await ask(hub, reader_for(hub, mallory), who=mallory)
        await ask(hub, reader_for(hub, ANONYMOUS), who=ANONYMOUS, address="192.0.2.1")


async def test_a_question_whose_cancellation_was_lost_is_charged() -> None:
    """It waits again, and is answered."""
    store, wall, held = FragileStore(), Clock(), asyncio.Event()
    policy = Policy(max_turns=1)
    async with hub_of(
        [held], [USAGE], store=store, policy=policy, wall_clock=wall, allowances=with_budget(10**6)
    ) as hub:
        await ask(hub, reader_for(hub, ANONYMOUS), who=ANONYMOUS)
        reader = reader_for(hub)
        await ask(hub, reader)
        store.break_down()
        with pytest.raises(StoreError):
            await hub.command(ANN, reader.session, Cancel())
        store.mend()
        held.set()
        await reader.done()
        assert await used_today(store) == 50


async def test_a_credential_that_was_revoked_asks_nothing() -> None:
    """Also where it was checked before, and its question comes now."""
    async with hub_of() as hub:
        hub.admission.is_revoked = lambda principal: principal.credential == "key:old"
        await refused(hub, reader_for(hub, OLD), Unauthorized, who=OLD)
        await ask(hub, reader_for(hub))


async def test_a_session_grows_to_its_size_and_no_further() -> None:
    """What it has can be read, and another one be begun."""
    async with hub_of(["x" * 5000], ["y"], allowances=Allowances(Allowance(session_bytes=6000))) as hub:
        reader = reader_for(hub)
        await ask(hub, reader)
        await reader.done()
        await ask(hub, reader)
        await reader.done(2)
        await refused(hub, reader, QuotaExceeded)
        await ask(hub, reader_for(hub))


# --- load, models and options ----------------------------------------------------------------------------------------


async def test_a_server_that_has_too_much_to_do_takes_no_questions() -> None:
    """And costs nobody anything; what runs goes on, and what was asked already is known."""
    allowances = Allowances(Allowance(rates=Rates(questions=2)))
    async with hub_of(allowances=allowances) as hub:
        reader = reader_for(hub)
        await ask(hub, reader, id="q")
        await reader.done()
        hub.admission.load = LoadLevel.HIGH
        for _ in range(9):
            assert (await refused(hub, reader, Overloaded)).retry_after is not None
        with pytest.raises(Overloaded):
            await hub.fork(ANN, reader.session, Fork("t1"))
        await ask(hub, reader, id="q")
        hub.admission.load, hub.admission.load_limit = LoadLevel.NORMAL, 0
        await refused(hub, reader, Overloaded)
        hub.admission.load_limit = 1
        await ask(hub, reader)


async def test_a_role_chooses_the_model_and_bounds_the_options() -> None:
    """What a question does not name too; a retry is held to what its role may do today."""
    upstream = ScriptedUpstream(["a"], ["b"])
    role = Allowance(models=("small",), max_tokens=10, temperature=False)
    allowances = Allowances(roles={"guest": role})
    guest, full = Principal(user="ann", role="guest"), ANN
    async with hub_of(upstream=upstream, policy=Policy(models=("big",)), allowances=allowances) as hub:
        reader = reader_for(hub)
        await ask(hub, reader, who=guest)
        assert (await reader.done()).model == "small"
        await hub.command(full, reader.session, Ask("2?", options=Options(model="big", temperature=1.0)))
        await reader.done(2)
        with pytest.raises(Forbidden):
            await hub.command(guest, reader.session, Retry())
        assert reader.questions[0].options is None
        assert (hub.models_of(guest), hub.models_of(full)) == (("small",), ("scripted", "big"))
    assert [prompt.options for prompt in upstream.prompts] == [
        Options(model="small", max_tokens=10),
        Options(model="big", temperature=1.0),
    ]
    assert [(prompt.user, prompt.role) for prompt in upstream.prompts] == [("ann", "guest"), ("ann", None)]
