"""The page of the documentation and its charts, from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks import chart
from benchmarks.bench import ROOT
from benchmarks.bend import sentences
from benchmarks.curves import CURVES
from benchmarks.measurement import Outcome
from benchmarks.report import HEAD, goal_rows, value_rows

IMAGES = ROOT / "docs" / "images"
CHARTS = ("emit", "bulk", "process", "services", "latency", "backlog")

INTRODUCTION = """\
# Benchmarks

Written by `python3 dev.py bench --full --json > result.json`, about twenty minutes, and
`python3 dev.py bench --page result.json > docs/reference/benchmarks.md`; do not edit.

celeriac and its peers do the same work in the same run, in turns of about a second, so that what
else the machine does meets all of them alike. So the ratios count: each is the median over the
rounds, with its least and greatest. The values are for orientation; those of two runs do not
compare. All carry the same order event (237 bytes as a CloudEvent), and their handlers do nothing
but count, unless said. The server is an embedded one on loopback without persistence. Producers
are one process each, and while they emit they and the server have a core each (sched_setaffinity):
left to the scheduler, a round trip costs one or two times as much by chance. Workers stand still
(SIGSTOP) while a backlog is written, and then drain it; where they run is left to the scheduler.

The matrix records every run, each event is isolated from its neighbours, and nothing is set but
the defaults: what is measured is what one gets.
"""

NOT_MET = """\
Where a goal is not met, a profile says what the floor is, and what it would take: processing, and
handlers of 5 ms, in [0023](../adr/0023-what-a-drained-event-costs.md); the time of a single event
[beside Celery's own](../explanation/latency.md); a thousand handlers in a hundred domains in
[0022](../adr/0022-what-nobody-wants-is-passed-over.md).
"""


def page(outcomes: Sequence[Outcome], facts: Mapping[str, str]) -> str:
    """docs/reference/benchmarks.md. Writes the charts that it shows, docs/images/bench-*.svg."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    parts = [INTRODUCTION, "".join(f"- {name}: {value}\n" for name, value in facts.items())]
    goals = goal_rows(outcomes)
    if goals:
        parts += ["## Goals\n", table(HEAD, goals), NOT_MET]
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
