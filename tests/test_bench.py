"""The bench itself: tokens are checked, figures are judged, the page and its plots are written."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bench import clients, report
from bench.client import Answer
from bench.figures import GOALS, Results, with_idle, with_past
from bench.plot import Bar, bars
from bench.targets import ALL, NOTHING, OURS, running

linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


@linux
def test_every_token_of_two_answers_arrives_once_and_in_order() -> None:
    """Provider, our server and load generator, for two answers of 20 tokens."""
    with running(OURS) as server:
        told = server.load("stream", answers=2, tokens=20, rate=100, over=0.0, warm=0, limit=20.0)

    assert told["faults"] == []
    assert (told["answers"], told["tokens"]) == (2, 40)
    assert told["cpu_us"] > 0
    assert 0 < told["p50_ms"] <= told["p99_ms"] <= told["max_ms"]


@linux
def test_a_target_that_is_not_there_is_a_fault() -> None:
    """Never an exception in the middle of a long run."""
    with running(NOTHING) as server:
        told = server.load("turns", clients=1, at=[6], provider_url="http://127.0.0.1:1")

    assert told["errors"] == 1


@pytest.mark.parametrize(
    ("pieces", "reason", "fault"),
    [
        (["7:1;8:1;", "9:1;"], "stop", ""),
        (["7:1;8", ":1;9:1:xxxx;"], "stop", ""),
        (["7:1;9:1;"], "stop", "token 9 came for 8"),
        (["7:1;7:1;"], "stop", "token 7 came for 8"),
        (["8:1;"], "stop", "token 8 came for 7"),
        (["7:1;8:1;"], "stop", "ended before token 9"),
        (["7:1;8:1;9:1"], "stop", "ended before token 9"),
        (["7:1;8:1;9:1;10:1;"], "stop", "ended before token 11"),
        (["7:1;8:1;9:1;"], "error", "ended with error"),
    ],
)
async def test_an_answer_is_what_was_asked_for_or_a_fault(pieces: list[str], reason: str, fault: str) -> None:
    """Lost, repeated, foreign, torn."""
    answer = Answer(tokens=3, rate=0, from_=7)
    for piece in pieces:
        answer.take(piece, 5)
    answer.end(reason)

    assert answer.done.done()
    assert fault in answer.fault
    assert bool(answer.fault) == bool(fault)


def measured(ours: float, theirs: float) -> Results:
    results = Results(about={"versions": {"python": "3"}, "machine": "m", "date": "d", "rounds": 1, "minutes": 1})
    results.about |= {"idle": [10, 10_000], "history": [1, 1000], "growing_rounds": 3, "apart": "", "sessions": 1000}
    for target in ALL:
        value = ours if target is OURS else theirs
        names = ("cpu_us", "p50_ms", "p99_ms", "max_ms", "first_p50_ms", "first_p99_ms", "rate")
        for load in ("low", "mid", "high", "flat"):
            results.add(target.name, load, {"errors": 0, **dict.fromkeys(names, value)})
    return results


def test_what_is_measured_anew_takes_the_place_of_what_was() -> None:
    """And of nothing else."""
    results = measured(ours=7.0, theirs=10.0)
    results.add(OURS.name, with_idle(1000), {"errors": 0, "cpu_us": 50.0})

    results.drop([with_idle(100), with_idle(1000)])

    assert results.get(OURS.name, f"{with_idle(1000)}.cpu_us") == []
    assert results.get(OURS.name, "mid.cpu_us") == [7.0]


def test_goals_are_judged_with_slack_in_the_right_direction() -> None:
    """Of CPU less is better, of tokens a second more is."""
    results = measured(ours=7.0, theirs=10.0)
    cpu = next(goal for goal in GOALS if "`mid`" in goal.name and "CPU" in goal.name)
    rate = next(goal for goal in GOALS if "flat out" in goal.name)
    capacity = next(goal for goal in GOALS if "one core" in goal.name)

    assert cpu.value(results) == pytest.approx(0.7)
    assert not cpu.met(results, cpu.must)
    assert cpu.met(results, cpu.must, slack=0.15)
    assert rate.met(results, 0.8) is False
    assert rate.met(results, 0.8, slack=0.15)
    assert capacity.met(results, capacity.must) is None


def test_the_page_has_every_goal_and_links_to_every_plot(tmp_path: Path) -> None:
    """Also where some of it was not measured."""
    results = measured(ours=4.0, theirs=10.0)
    report.save(results, tmp_path / "results.json")
    report.write(report.load(tmp_path / "results.json"), tmp_path)
    page = (tmp_path / "performance.md").read_text()

    assert all(goal.name in page for goal in GOALS)
    assert "| CPU per token, `mid` | **0.40** x node-ws | ≤ 0.65 | ≤ 0.45 | met, and the aim |" in page
    links = re.findall(r"\]\((performance/\w+\.svg)\)", page)
    assert sorted(links) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("performance/*.svg"))


def test_the_page_says_how_the_cost_grows(tmp_path: Path) -> None:
    """A row a size, to the first of them round by round, and a bar a size."""
    results = measured(ours=4.0, theirs=10.0)
    for few, many in ((40.0, 44.0), (50.0, 60.0), (60.0, 78.0)):
        for load, cpu in ((with_idle(10), few), (with_idle(10_000), many), (with_past(1), few), (with_past(1000), few)):
            results.add(OURS.name, load, {"errors": 0, "cpu_us": cpu, "p50_ms": 0.1, "p99_ms": 0.2, "opened_us": 900.0})
    report.write(results, tmp_path)
    page, plot = ((tmp_path / name).read_text() for name in ("performance.md", "performance/growing.svg"))

    assert "| CPU per token with 10,000 idle connections | **1.20** x with 10 | ≤ 1.15 | ≤ 1.05 | **not met** |" in page
    assert "| 10 idle connections | 50.0 [40.0 to 60.0] | 1.00 | 0.10 | 0.20 |" in page
    assert "| 10,000 idle connections | 60.0 [44.0 to 78.0] | 1.20 | 0.10 | 0.20 |" in page
    assert "| 1,000 turns of history | 50.0 [40.0 to 60.0] | 1.00 | 0.10 | 0.20 | 900 |" in page
    assert re.findall(r">(10,000|1,000|60.0 µs)<", plot) == ["10,000", "60.0 µs", "1,000"]


def test_the_clients_get_the_answer_and_are_compared_with_one_that_only_parses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they get it is checked where it is measured; a few tokens say nothing about the cost."""
    monkeypatch.setattr(clients, "JS_TOKENS", 100)
    monkeypatch.setattr(clients, "ROUNDS", 1)
    results = measured(ours=4.0, theirs=10.0)
    clients.measure(results)
    report.write(results, tmp_path)
    page = (tmp_path / "performance.md").read_text()

    for text, *_ in report.CLIENTS:
        assert re.search(rf"^\| {re.escape(text)} \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", page, re.MULTILINE)


def test_a_plot_is_xml_that_reads_on_dark_pages_too() -> None:
    """Whatever is in a name."""
    plot = bars("<speed> & more", [("group", [Bar("a<b", 1.0, "1"), Bar("c", 2.0, "2", ours=True)])], line=1.0)
    root = ET.fromstring(plot)

    assert "prefers-color-scheme: dark" in plot
    assert [rect.get("class") for rect in root.iter("{http://www.w3.org/2000/svg}rect")] == ["bar", "ours"]
