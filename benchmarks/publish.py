"""The page of the documentation, its charts, and the README's figures, from what was measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks import chart
from benchmarks.bench import ROOT
from benchmarks.bend import sentences
from benchmarks.curves import CURVES
from benchmarks.measurement import Outcome
from benchmarks.report import HEAD, goal_rows, number, value_rows

PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
CHARTS = ("emit", "bulk", "process", "services", "latency", "backlog")

INTRODUCTION = """\
# Benchmarks

Written by `python3 dev.py bench --full --store bench.json --publish`; do not edit. It takes about
twenty minutes. If it is interrupted, the same command goes on where it was. `--only NAME` measures
a part of it again.

celeriac and its peers do the same work in the same run, in turns of about a second, so that other
load on the machine affects all of them alike. Compare the ratios: each is the median over the
rounds, with its minimum and maximum. The absolute values are for orientation; do not compare those
of two runs.

- All carry the same order event (237 bytes as a CloudEvent). Unless stated otherwise, handlers only
  add one to a counter in shared memory.
- celeriac runs with its defaults. It records every run, and isolates each event from its
  neighbours. celeriac and Celery send no task events, except where `-E` is stated: celeriac sends
  them only while a monitor receives them, Celery only with `-E`.
- Peers run as their documentation recommends for speed: Celery with late acknowledgement (without
  it, a crash loses tasks) and a prefetch of 4; FastStream with handlers of batches of up to 500,
  without a log line for each message, and with uvloop, as taskiq.
- The server is an embedded one on loopback without persistence. Contestants marked *AOF* use a
  second one, with an append-only file that is flushed every second.
- Each producer is one process. While it emits, it and the server have a core each
  (`sched_setaffinity`): otherwise the time of a round trip doubles by chance.
- Workers are stopped (SIGSTOP) while a backlog is written, then drain it. The scheduler places
  them.
"""

EXPLAINED = """\
What a delivery costs, and where: [chunks](../internals/chunks.md). The time of a single event,
[beside Celery's own](../explanation/latency.md). What happens where many handlers share domains:
[the dispatcher](../internals/dispatcher.md).
"""


README = ROOT / "README.md"
FIGURES = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)


def publish(outcomes: Sequence[Outcome], facts: Mapping[str, str]) -> None:
    """Write docs/reference/benchmarks.md, its charts and the README's figures."""
    PAGE.write_text(page(outcomes, facts))
    README.write_text(with_figures(README.read_text(), outcomes, facts))


def with_figures(readme: str, outcomes: Sequence[Outcome], facts: Mapping[str, str]) -> str:
    """The README with the goals that have a headline, between its two comments."""
    if not FIGURES.search(readme):
        raise ValueError("README.md has no lines `<!-- figures -->` and `<!-- /figures -->`")
    rows = [
        (
            goal.headline,
            f"{number(median(ratios))}{' ×' if goal.to else ''}",
            f"{goal.bound} {'✓' if goal.holds(median(ratios)) else '✗'}",
        )
        for outcome in outcomes
        for goal in outcome.measurement.goals
        if goal.headline and (ratios := outcome.ratios(goal))
    ]
    date = facts.get("date", "").partition(" ")[0]
    introduction = (
        f"Measured on {date} in one run on two cores. Each ratio is the median of its rounds,\n"
        "with handlers that do nothing. ✗ marks a missed target. [All figures, with their\n"
        "spread](docs/reference/benchmarks.md).\n\n"
    )
    figures = introduction + table(("", "celeriac", "target"), rows) + "\n"
    return FIGURES.sub(lambda _: figures, readme)


def page(outcomes: Sequence[Outcome], facts: Mapping[str, str]) -> str:
    """docs/reference/benchmarks.md. Writes the charts that it shows, docs/images/bench-*.svg."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    parts = [INTRODUCTION, "".join(f"- {name}: {value}\n" for name, value in facts.items())]
    goals = goal_rows(outcomes)
    if goals:
        parts += ["## Goals\n", table(HEAD, goals), EXPLAINED]
    for outcome in outcomes:
        rows = value_rows(outcome)
        parts.append(f"## {outcome.measurement.title}\n")
        if drawn := draw(outcome):
            path = IMAGES / f"bench-{outcome.measurement.name}.svg"
            path.write_text(drawn)
            parts.append(f"![{outcome.measurement.title}](../images/{path.name})\n")
        parts.append(table(rows[0], rows[1:]))
        if outcome.measurement in CURVES and len(outcome.samples) > 1:
            parts += [f"{sentence}\n" for sentence in sentences(outcome)]
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join([*row, *[""] * (len(head) - len(row))]) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def draw(outcome: Outcome) -> str | None:
    """The chart of a measurement, if it has one and somebody did not fail."""
    measurement = outcome.measurement
    medians = [(name, outcome.median(name, measurement.unit)) for name in outcome.samples]
    values = [(name, value) for name, value in medians if value]
    if measurement in CURVES and len(values) > 1:
        curve = [(float(name), value) for name, value in values]
        return chart.line(measurement.title, measurement.unit, curve)
    if measurement.name in CHARTS and values:
        return chart.bars(measurement.title, measurement.unit, values)
    return None
