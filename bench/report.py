"""docs/performance.md and its plots, from what was measured: `python -m bench.report` writes them anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from . import cluster_report
from .figures import GOALS, OURS, YARDSTICK, Goal, Results, with_idle, with_past
from .measured import Figures
from .plot import Bar, bars
from .targets import ALL, NOTHING, PEERS, ROOT

Row = tuple[str, str]  # what the reader sees, and the name of a figure or of a load

LOADS: Sequence[tuple[str, str]] = (
    ("low", "5 answers of 50 tokens/s"),
    ("mid", "20 answers of 50 tokens/s"),
    ("high", "100 answers of 50 tokens/s"),
)
FLAT = f"50 answers, all tokens at once: {', '.join(f'{target.flat:,} each of {target.name}' for target in ALL)}"
LATENCY: Sequence[Row] = (
    ("p50", "p50_ms"),
    ("p99", "p99_ms"),
    ("max", "max_ms"),
    ("first token p50", "first_p50_ms"),
    ("first token p99", "first_p99_ms"),
)
TURNS: Sequence[Row] = (
    ("turn, 6 messages, µs", "turns.turn_6_us"),
    ("turn, 60 messages, µs", "turns.turn_60_us"),
    ("answers on one core", "capacity.held"),
    ("tokens/s flat out", "flat.rate"),
    ("CPU flat out, µs/token", "flat.cpu_us"),
)
MEMORY: Sequence[Row] = (
    ("at the start, MB", "memory.base_mb"),
    ("new connection, KB", "memory.connected_kb"),
    ("idle after an answer, KB", "memory.idle_kb"),
    ("running answer, KB more", "memory.running_kb"),
)
SLOW: Sequence[Row] = (
    ("memory growth, MB", "slow.growth_mb"),
    ("3 s after they left, MB", "slow.after_mb"),
    ("others' p50, ms", "slow.p50_ms"),
    ("others' p99, ms", "slow.p99_ms"),
    ("taken from the provider, MB", "slow.taken_mb"),
    ("requests left open", "slow.open"),
)
OWN: Sequence[Row] = (("p50", "p50_ms"), ("p99", "p99_ms"))
CLIENTS = (
    ("`askbot.js`, where `view` is read at the end", "js_client_us", "js_parse_us"),
    ("`askbot.js`, where a listener reads `view` at each frame", "js_listener_us", "js_parse_us"),
    ("the Python client, where the answer is awaited", "python_client_us", "python_parse_us"),
)
READERS: Sequence[Row] = (
    ("one reader a session", "one reader"),
    ("two readers a session", "two readers"),
)

HEAD = """# What it costs, beside others

Made by `make bench`; do not edit. {date}, on {machine}.
Rounds: {rounds}, interleaved, {minutes} minutes in all; the numbers are their medians. Memory, slow readers, answers on
one core and the storm have one round; how the cost grows has {growing_rounds}{apart}. What swings most was measured
twice in each: `mid` of `askbot` and `node-ws`, and idle connections, on the way to 10,000 and on the way back.

Each target has one core to itself, the provider (a fake one that costs little) and the load generator share another.
Every token was checked: once, in order, right asker, history sent. Latencies are from the provider's write to the load
generator's read, so they include its own (the row "nothing": the load generator asks the provider itself). **Read
ratios, not absolute figures**: they are to `node-ws`, in the same run.

| target | what it is |
| --- | --- |
{targets}

{versions}.
"""


CAPACITY = """## Turns, capacity, throughput

Turns have one-token answers, and as many messages of history as said. Answers on one core: of 50 tokens/s each, p99
under 100 ms, found in steps of about a tenth.
"""

STOPPED = """## Readers that stop reading

3 readers ask for 20 MB each (5 answers of 4 MB; of express 15 readers for one each) and stop reading; 5 others chat on
at 50 tokens/s.
"""


GROWING = """## As it grows

Ours alone, at `mid`: CPU per token, µs, and added latency, ms. Idle connections had no answer yet, and each is sent its
sign of life once in the time that is measured. Sessions with a past are opened as a page does it, without a place in
the log: what that takes, µs of CPU, does not count to their tokens.
"""

CLIENT_HEAD = """## What reading costs

A client's CPU per token, µs, beside one that only parses each frame and appends its text (`python -m bench.clients`).
`askbot.js` is given 200,000 frames as its socket would; the Python client gets 10,000 from a socket, all at once, and
beside it are websockets and json.
"""


def save(results: Results, path: Path) -> None:
    """Keep what was measured."""
    path.write_text(json.dumps(asdict(results), indent=1))


def load(path: Path) -> Results:
    """What was measured last."""
    return Results(**json.loads(path.read_text()))


def write(results: Results, folder: Path) -> None:
    """The page, and its plots in a folder beside it."""
    (folder / "performance").mkdir(parents=True, exist_ok=True)
    for name, plot in plots(results).items():
        (folder / "performance" / f"{name}.svg").write_text(plot)
    (folder / "performance.md").write_text(page(results))


def number(value: float | None) -> str:
    """As many digits as mean something."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def page(results: Results) -> str:
    """The page, in Markdown."""
    about = results.about
    targets = "\n".join(f"| {target.name} | {target.what} |" for target in ALL)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts = [
        HEAD.format(**{**about, "targets": targets, "versions": versions}),
        "## Goals\n",
        _goals(results),
        "![CPU per token](performance/cpu.svg)\n",
        "## CPU per token\n\nMicroseconds of a core, the request's own cost included; the ratio to node-ws.\n",
        _loads(results),
        "## Latency\n\nMilliseconds; `nothing` is the measuring itself.\n",
        "![Latency](performance/latency.svg)\n",
        *(_latency(results, load, what) for load, what in (*LOADS, ("flat", FLAT))),
        CAPACITY,
        "![Answers on one core](performance/capacity.svg)\n",
        _table(results, TURNS),
        "## Memory\n\nProportional set size; the kernel's socket buffers are not counted.\n",
        "![Memory](performance/memory.svg)\n",
        _table(results, MEMORY),
        STOPPED,
        _table(results, SLOW),
        "## More readers, and all at once\n\nOurs alone, at `mid`: CPU per token, µs, and added latency, ms.\n",
        _own(results, READERS),
        _storm(results),
        GROWING,
        "![As it grows](performance/growing.svg)\n",
        _own(results, _idle(results)),
        _own(results, _history(results), (*OWN, ("opened", "opened_us"))),
        CLIENT_HEAD,
        _clients(results),
    ]
    if nodes := cluster_report.section(Figures.load()):
        parts.append(nodes)
    if results.faults:
        parts.append("## Faults\n\n" + "\n".join(f"- {fault}" for fault in results.faults) + "\n")
    return "\n".join(parts)


def _goals(results: Results) -> str:
    def limit(goal: Goal, value: float | None) -> str:
        return "bounded" if value is None else f"{'≥' if goal.more_is_better else '≤'} {value:g}"

    rows = [
        f"| {goal.name} | **{number(goal.value(results))}** {goal.unit} | {limit(goal, goal.must)} "
        f"| {limit(goal, goal.aim)} | {goal.verdict(results)} |"
        for goal in GOALS
    ]
    return "\n".join(["| figure | measured | must | aim | |", "| --- | --- | --- | --- | --- |", *rows, ""])


def _loads(results: Results) -> str:
    def cell(target: str, load: str) -> str:
        name = f"{load}.cpu_us"
        values = results.get(target, name)
        if not values:
            return "-"
        ratio = number(results.ratio(name, target=target))
        return f"**{ratio}** · {number(results.middle(target, name))} [{number(min(values))} to {number(max(values))}]"

    head = [f"{load}: {what}" for load, what in LOADS]
    return _rows(results, head, lambda target: [cell(target, load) for load, _ in LOADS])


def _latency(results: Results, load: str, what: str) -> str:
    names = [f"{load}.{name}" for _, name in LATENCY]
    table = _rows(results, [text for text, _ in LATENCY], lambda target: _cells(results, target, names), nothing=True)
    return f"`{load}`, {what}:\n\n{table}"


def _table(results: Results, rows: Sequence[Row]) -> str:
    names = [name for _, name in rows]
    return _rows(results, [text for text, _ in rows], lambda target: _cells(results, target, names))


def _cells(results: Results, target: str, names: Sequence[str]) -> list[str]:
    def cell(name: str) -> str:
        value, ratio = results.middle(target, name), results.ratio(name, target=target)
        beside = f" ({number(ratio)})" if ratio is not None and target not in (YARDSTICK, NOTHING.name) else ""
        return number(value) + beside

    return [cell(name) for name in names]


def _rows(results: Results, head: Sequence[str], cells: Callable[[str], list[str]], *, nothing: bool = False) -> str:
    shown = [target.name for target in (*ALL, *([NOTHING] if nothing else [])) if target.name in results.values]
    lines = [f"| target | {' | '.join(head)} |", "| --- |" + " --- |" * len(head)]
    lines += [f"| {name} | {' | '.join(cells(name))} |" for name in shown]
    return "\n".join([*lines, ""])


def _idle(results: Results) -> list[Row]:
    return [(f"{count:,} idle connections", with_idle(count)) for count in results.about["idle"]]


def _history(results: Results) -> list[Row]:
    return [(f"{turns:,} turn{'s' * (turns > 1)} of history", with_past(turns)) for turns in results.about["history"]]


def _own(results: Results, rows: Sequence[Row], columns: Sequence[Row] = OWN) -> str:
    head = ["", "CPU", "to the first row", *(text for text, _ in columns)]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for text, load in rows:
        cpu = f"{load}.cpu_us"
        if values := results.get(OURS, cpu):
            spread = f"{number(results.middle(OURS, cpu))} [{number(min(values))} to {number(max(values))}]"
            ratio = number(results.own(cpu, to=f"{rows[0][1]}.cpu_us"))
            others = (number(results.middle(OURS, f"{load}.{name}")) for _, name in columns)
            lines.append(f"| {' | '.join([text, spread, ratio, *others])} |")
    return "\n".join([*lines, ""])


def _clients(results: Results) -> str:
    lines = ["|  | our client | only parses | ratio |", "| --- | --- | --- | --- |"]
    for text, client, parsing in CLIENTS:
        names = [f"clients.{name}" for name in (client, parsing)]
        ours, theirs = (number(results.middle(OURS, name)) for name in names)
        lines.append(f"| {text} | {ours} | {theirs} | {number(results.own(names[0], to=names[1]))} |")
    return "\n".join([*lines, ""])


def _storm(results: Results) -> str:
    seconds = results.middle(OURS, "storm.seconds")
    if seconds is None:
        return ""
    p50, p99 = (number(results.middle(OURS, f"storm.{name}_ms")) for name in ("p50", "p99"))
    return (
        f"A reconnect storm, {results.about['sessions']:,} sessions that come back at once, each for an answer of 200 "
        f"tokens: all are served after {number(seconds)} s (p50 {p50} ms, p99 {p99} ms), for "
        f"{number(results.middle(OURS, 'storm.cpu_us'))} µs of CPU each, the handshake included.\n"
    )


def plots(results: Results) -> dict[str, str]:
    """The SVG files, by name."""

    def group(name: str, unit: str = "", *, ratio: bool = False) -> list[Bar]:
        found: list[Bar] = []
        for target in ALL:
            middle = results.middle(target.name, name)
            value = results.ratio(name, target=target.name) if ratio else middle
            if value is not None and middle is not None:
                beside = f" · {number(middle)} {unit}" if ratio else f" {unit}"
                found.append(Bar(target.name, value, number(value) + beside, target.name == OURS))
        return found

    def own(rows: Sequence[Row]) -> list[Bar]:
        found = [(text, results.middle(OURS, f"{load}.cpu_us")) for text, load in rows]
        return [Bar(text.partition(" ")[0], value, f"{number(value)} µs", ours=True) for text, value in found if value]

    return {
        "cpu": bars(
            "CPU per token, to node-ws in the same run (less is better)",
            [(f"{load}: {what}", group(f"{load}.cpu_us", "µs", ratio=True)) for load, what in LOADS],
            line=1.0,
        ),
        "latency": bars(
            "Added latency of a token at mid, ms (less is better)",
            [("p50", group("mid.p50_ms", "ms")), ("p99", group("mid.p99_ms", "ms"))],
        ),
        "capacity": bars(
            "Answers of 50 tokens/s on one core, p99 under 100 ms (more is better)", [("", group("capacity.held"))]
        ),
        "memory": bars(
            "Memory, KB (less is better)",
            [
                ("an idle connection that has had an answer", group("memory.idle_kb", "KB")),
                ("more for a running answer", group("memory.running_kb", "KB")),
            ],
        ),
        "growing": bars(
            "CPU per token at mid, as it grows (ours alone; flat is good)",
            [("idle connections", own(_idle(results))), ("turns of history", own(_history(results)))],
        ),
    }


if __name__ == "__main__":
    write(load(PEERS / "results.json"), ROOT / "docs")
