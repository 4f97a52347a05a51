"""The result as text, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.measurement import Goal, Outcome

HEAD = ("comparison", "target", "measured", "min-max", "", "values")


def number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def goal_rows(outcomes: Iterable[Outcome]) -> list[tuple[str, ...]]:
    """One row for each goal: the median of its ratio, its spread over rounds, met or not."""
    return [_row(outcome, goal) for outcome in outcomes for goal in outcome.measurement.goals]


def _row(outcome: Outcome, goal: Goal) -> tuple[str, ...]:
    ratios = outcome.ratios(goal)
    if not ratios:
        failed = [name for name in (goal.of, goal.to) if name in outcome.failed]
        return (goal.text, goal.bound, "failed", "", "✗", " and ".join(map(str, failed)))
    middle, unit = median(ratios), goal.unit or outcome.measurement.unit
    values = [outcome.median(name, unit) for name in (goal.of, goal.to) if name is not None]
    shown = " : ".join(number(value) for value in values if value is not None)
    spread = f"{number(min(ratios))}-{number(max(ratios))}"
    mark = "✓" if goal.holds(middle) else "✗"
    return (goal.text, goal.bound, number(middle), spread, mark, f"{shown} {unit}")


def value_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """One row for each candidate: the median of each unit, or why it failed."""
    beside = outcome.measurement.beside
    rows = [("", *outcome.units, *([f"× {beside}", "min-max"] if beside else []))]
    for name in outcome.samples:
        medians = [outcome.median(name, unit) for unit in outcome.units]
        ratios = outcome.ratios(Goal("", name, beside, minimum=0)) if beside else []
        over = _over(ratios)
        rows.append((name, *("" if m is None else number(m) for m in medians), *over))
    return rows + [(name, f"failed: {why}") for name, why in outcome.failed.items()]


def _over(ratios: Sequence[float]) -> tuple[str, ...]:
    if not ratios:
        return ()
    return number(median(ratios)), f"{number(min(ratios))}-{number(max(ratios))}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) if i < len(row) else 0 for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i == 0 or len(row) < len(widths) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def conditions(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Return the duration of a run, and the load of other processes during it."""
    outcomes = list(outcomes)
    shares = [share for outcome in outcomes for share in outcome.neighbours]
    middle = median(shares) if shares else 0.0
    return {
        "other processes": f"{middle:.0%} of a core during a sample (median), "
        f"at most {max(shares, default=0):.0%}",
        "took": f"{sum(outcome.seconds for outcome in outcomes) / 60:.1f} minutes",
    }


def text(outcomes: Sequence[Outcome], facts: Mapping[str, str]) -> str:
    parts = [", ".join(f"{name} {value}" for name, value in facts.items())]
    goals = goal_rows(outcomes)
    if goals:
        parts.append(aligned([HEAD, *goals]))
    for outcome in outcomes:
        parts.append(outcome.measurement.title + "\n" + aligned(value_rows(outcome)))
    return "\n\n".join(parts)


def as_json(outcomes: Sequence[Outcome], facts: Mapping[str, str]) -> str:
    """One line. `value` is the median over the rounds, `low` and `high` their bounds."""
    goals, measured = [], {}
    for outcome in outcomes:
        measured[outcome.measurement.name] = {
            "samples": outcome.samples,
            "failed": outcome.failed,
            "seconds": round(outcome.seconds, 1),
            "neighbours": [round(share, 3) for share in outcome.neighbours],
        }
        for goal in outcome.measurement.goals:
            ratios = outcome.ratios(goal)
            goals.append(
                {
                    "goal": goal.text,
                    "aim": goal.bound,
                    "value": median(ratios) if ratios else None,
                    "low": min(ratios, default=None),
                    "high": max(ratios, default=None),
                    "met": bool(ratios) and goal.holds(median(ratios)),
                }
            )
    document = {"facts": dict(facts), "goals": goals, "measured": measured}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
