"""How far it scales: the model waits as the theory of queues says, and docs/scale.md says what the code computes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from bench import cluster_report, scale, scale_model
from bench.measured import Figures
from bench.predictions import fit
from bench.scale_model import Costs, DriverCosts, FollowerCosts, Load, RedisCosts, predict
from bench.simulation import Processor, Simulation

US = 1e-6
COSTS = Costs(
    tick=40 * US, token=20 * US, more=US, turn=200 * US, idle=0.002, wake=20 * US,
    driver=DriverCosts(look=20 * US, write=8 * US, wakeup=10 * US, read=6 * US),
)  # fmt: skip


def test_a_queue_waits_as_long_as_theory_says() -> None:
    """Random arrivals, equal work, one server: half of load x work / (1 - load), by Pollaczek and Khinchine."""
    simulation, chance, waits = Simulation(), random.Random(1), list[float]()
    server = Processor(simulation)
    at, work, load = 0.0, 0.01, 0.7
    for _ in range(100_000):
        at += chance.expovariate(load / work)
        simulation.at(at, lambda: waits.append(server.do(work) - simulation.now))
    simulation.run(at)

    assert sum(waits) / len(waits) == pytest.approx(load * work / 2 / (1 - load), rel=0.03)
    assert server.used == pytest.approx(100_000 * work)


def test_the_more_tokens_come_the_fewer_commits_and_the_less_cpu_a_token_takes() -> None:
    """Group commit; and what it takes at most is a commit and a token."""
    few, many = predict(COSTS, Load(5)), predict(COSTS, Load(400))

    assert few.commits == pytest.approx(1.0, abs=0.05)
    assert many.commits < 0.3 * few.commits
    assert many.cpu_us < 0.7 * few.cpu_us
    assert 60 <= few.cpu_us - 200 / 100 < 75  # a commit, a token, what is spent anyway
    assert few.p50_ms < many.p50_ms < 2.0


def test_a_node_that_is_nearly_full_pauses_and_makes_larger_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause is the program's own; it gives latency for CPU. Beyond that, tokens are as late as the load is long."""
    slow = replace(COSTS, tick=160 * US, token=80 * US)
    full, over = predict(slow, Load(220)), predict(slow, Load(400))
    monkeypatch.setattr(scale_model, "MAX_PAUSE_SECONDS", 0.0)
    restless = predict(slow, Load(220))

    assert full.commits < 0.8 * restless.commits
    assert full.cpu_us < 0.95 * restless.cpu_us
    assert full.p50_ms > 2 * restless.p50_ms
    assert over.share > 0.9
    assert over.p99_ms > 10 * full.p99_ms


def test_redis_and_a_follower_add_their_work_and_their_way() -> None:
    """A token goes to Redis and back before the owner shows it, and to the follower at the same time."""
    redis = replace(COSTS, redis=RedisCosts(pipeline=10 * US, script=5 * US, round_trip=200 * US))
    followed = replace(redis, follower=FollowerCosts(tick=30 * US, token=10 * US))
    alone, stored, shown = (predict(costs, Load(20)) for costs in (COSTS, redis, followed))

    assert alone.redis_us == 0
    assert stored.redis_us == pytest.approx(5 + 10 * stored.commits)
    assert stored.commits < 0.3 < alone.commits, "tokens wait for others, to share a pipeline"
    assert stored.p50_ms - alone.p50_ms > 0.2
    assert shown.follower_us > 10
    assert 0 < shown.behind_p50_ms < 0.2


def test_while_a_batch_is_in_flight_the_next_one_grows() -> None:
    """One batch is in flight: with a longer way there are fewer pipelines, so the node has less to do."""
    near = predict(replace(COSTS, redis=RedisCosts(10 * US, 5 * US)), Load(200), redis_beside=False)
    far = predict(
        replace(COSTS, redis=RedisCosts(10 * US, 5 * US, round_trip=5000 * US)), Load(200), redis_beside=False
    )

    assert far.commits < 0.5 * near.commits
    assert far.cpu_us < near.cpu_us
    assert far.redis_us < near.redis_us


def test_costs_are_the_line_through_what_was_measured() -> None:
    """A slope for each commit, the rest for each token; neither is negative."""
    assert fit([(1.0, 60.0), (0.5, 40.0), (0.1, 24.0)]) == pytest.approx((40.0, 20.0))
    assert fit([(1.0, 10.0), (0.5, 12.0)]) == (0.0, 11.0)


# --- docs/scale.md ---------------------------------------------------------------------------------------------------


def figures(**values: float) -> Figures:
    found = Figures()
    for name in (*scale.NEEDED, *scale.MODELLED):
        found.add(name, 10.0, "units", "python -m bench.made_up", load=1.0)
    for name, value in values.items():
        found.add(name.replace("__", "."), value, "units", "python -m bench.made_up", load=1.0)
    return found


def test_what_a_million_users_need_is_computed_from_what_was_measured() -> None:
    """By hand: 20,000 answers of 50 tokens a second, 40 µs each, of a core that may be 60 % full."""
    measured = figures(owner__redis__1000__cpu_us=40.0, follower__5000__cpu_us=0.0, node__idle_us=2.0)
    need = scale.needs(measured, scale.Assumptions())

    assert (need.answers, need.tokens) == (20_000, 1_000_000)
    assert need.node_cores == pytest.approx(40 + 2)
    assert need.nodes == pytest.approx(70)
    assert scale.needs(measured, scale.Assumptions(users=2_000_000)).nodes == pytest.approx(140)


def test_with_one_shard_a_token_costs_what_it_does_in_large_pipelines() -> None:
    """With several, a batch of a node is cut into small ones."""
    measured = figures(owner__redis__1000__redis_us=50.0, owner__redis__5000__redis_us=20.0)

    assert scale.needs(measured, scale.Assumptions(users=10_000)).redis_cores == pytest.approx(0.2)
    assert scale.needs(measured, scale.Assumptions(users=100_000)).redis_cores == pytest.approx(5)


def test_the_page_has_the_results_their_formulas_and_what_was_measured() -> None:
    """By which command, and beside what the model predicted."""
    page = scale.page(figures(owner__redis__5000__cpu_us=40.0, model__sqlite__200__cpu_us__predicted=31.5))

    assert "| tokens | **1,000,000** a second | answers x rate |" in page
    assert "| CPU of a connection's handshake | 10 units | `python -m bench.made_up`" in page
    assert "| 200 | 31.5 / 10 | 10 / 10 | 10 / 10 | 10 / 10 |" in page


def test_what_breaks_first_stands_first() -> None:
    """A Redis that takes all of its core for half the users holds half of them."""
    found = scale.breaks(figures(owner__redis__5000__redis_us=2.0), scale.Assumptions())

    assert [row.value for row in found] == sorted(row.value for row in found)
    assert {row.name: row.value for row in found}["a single Redis server, its core"] == pytest.approx(500_000)


def test_without_a_measurement_there_is_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says which command measures it; nothing is guessed."""
    file = tmp_path / "measured.json"
    some = Figures()
    some.add("node.idle_us", 1.0, "µs", "python -m bench.cluster --only connections", load=1.0)
    some.save(file)

    assert scale.main(["--measured", str(file)]) == 1
    told = capsys.readouterr()
    assert not told.out
    assert "memory.turn_bytes was not measured" in told.err
    assert "python -m bench.cluster --only memory" in told.err
    assert "python -m bench.predictions" in told.err
    assert "node.idle_us" not in told.err


def test_the_page_says_what_the_code_computes() -> None:
    """docs/scale.md is made by `python -m bench.scale --write` from bench/measured.json, and is not there before."""
    measured = Figures.load()
    if scale.missing(measured):
        assert not scale.PAGE.exists()
        return
    assert scale.PAGE.read_text("utf-8") == scale.page(measured)


# --- docs/performance.md ---------------------------------------------------------------------------------------------


def test_the_section_about_many_nodes_judges_what_was_measured() -> None:
    """A ratio that is too high says so; without all figures there is no section."""
    found = Figures()
    for name in cluster_report.NEEDED[1:]:
        found.add(name, 10.0, "units", "python -m bench.made_up", load=1.0)
    found.add("owner.redis.1000.cpu_us", 16.0, "units", "python -m bench.made_up", load=1.0)
    assert cluster_report.section(found) == ""

    found.add(cluster_report.NEEDED[0], 10.0, "units", "python -m bench.made_up", load=1.0)
    told = cluster_report.section(found)
    assert "with Redis, 1,000 tokens/s | **1.60** x with SQLite | ≤ 1.5 | **not met** |" in told
    assert "with Redis, 5,000 tokens/s | **1.00** x with SQLite | ≤ 1.5 | met |" in told
    assert "| a forwarded command adds, p50 | **0.00** ms |" in told
    assert cluster_report.written("# Page\n\n## Many nodes\n\nold\n", found) == f"# Page\n\n{told}"


def test_the_section_is_in_the_page_as_it_was_measured() -> None:
    """`python -m bench.report` writes it; `python -m bench.cluster_report` prints it."""
    page = scale.PAGE.with_name("performance.md").read_text("utf-8")
    told = cluster_report.section(Figures.load())

    assert told in page
    assert bool(told) == ("## Many nodes" in page)
