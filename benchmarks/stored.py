"""Results in a file, as --json prints them: read again, and added to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.curves import CURVES
from benchmarks.measurement import Outcome
from benchmarks.report import as_json, taken
from benchmarks.table import TABLE


def load(path: Path) -> tuple[Sequence[Outcome], Mapping[str, str]]:
    """Outcomes in their order, and facts. Raises ValueError where it is no result of a bench.

    Of several lines the last counts, so that what else was printed does no harm.
    """
    lines = [line for line in path.read_text().splitlines() if line.startswith("{")]
    if not lines:
        raise ValueError(f"{path} holds no result of `dev.py bench --json`")
    document = json.loads(lines[-1])
    known = {m.name: m for m in (*TABLE, *CURVES)}
    outcomes = [
        Outcome(
            known[name],
            dict(found["samples"]),
            dict(found["failed"]),
            found.get("seconds", 0.0),
            list(found.get("neighbours", ())),
        )
        for name, found in document["measured"].items()
        if name in known
    ]
    return outcomes, document["facts"]


class Store:
    """A file of results. Each measurement is in it as soon as it is made, and replaces an older
    one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._outcomes: dict[str, Outcome] = {}
        self._facts: Mapping[str, str] = {}
        if path.exists():
            outcomes, self._facts = load(path)
            self._outcomes = {outcome.measurement.name: outcome for outcome in outcomes}

    def __contains__(self, name: str) -> bool:
        """Whether it has the measurement, and no contestant failed."""
        return name in self._outcomes and not self._outcomes[name].failed

    @property
    def outcomes(self) -> list[Outcome]:
        """In the order of the table."""
        order = [m.name for m in (*TABLE, *CURVES)]
        return sorted(self._outcomes.values(), key=lambda one: order.index(one.measurement.name))

    @property
    def facts(self) -> Mapping[str, str]:
        return {**self._facts, **taken(self.outcomes)}

    def add(self, outcome: Outcome, facts: Mapping[str, str]) -> None:
        self._outcomes[outcome.measurement.name] = outcome
        self._facts = facts
        written = self.path.with_name(self.path.name + ".new")
        written.write_text(as_json(self.outcomes, self.facts) + "\n")
        written.replace(self.path)
