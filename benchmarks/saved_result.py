"""Results in a file, in the format of --json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.curves import CURVES
from benchmarks.measurement import Outcome
from benchmarks.report import as_json, conditions
from benchmarks.table import TABLE


def load(path: Path) -> tuple[Sequence[Outcome], Mapping[str, str]]:
    """Return the outcomes in order, and the facts. Raises ValueError if the file has no result.

    The last line counts, so other output before it is ignored.
    """
    lines = [line for line in path.read_text().splitlines() if line.startswith("{")]
    if not lines:
        raise ValueError(f"{path} holds no result of `dev.py bench --json`")
    document = json.loads(lines[-1])
    known = {m.name: m for m in (*TABLE, *CURVES)}
    outcomes = [
        Outcome(
            known[name],
            dict(entry["samples"]),
            dict(entry["failed"]),
            entry.get("seconds", 0.0),
            list(entry.get("neighbours", ())),
        )
        for name, entry in document["measured"].items()
        if name in known
    ]
    return outcomes, document["facts"]


class SavedResults:
    """A file of results. Each measurement is saved when it ends, and replaces an older one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._outcomes: dict[str, Outcome] = {}
        self._facts: Mapping[str, str] = {}
        if path.exists():
            outcomes, self._facts = load(path)
            self._outcomes = {outcome.measurement.name: outcome for outcome in outcomes}

    def __contains__(self, name: str) -> bool:
        """Return whether the file has the measurement and no candidate failed."""
        return name in self._outcomes and not self._outcomes[name].failed

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes in the order of the table."""
        order = [m.name for m in (*TABLE, *CURVES)]
        return sorted(
            self._outcomes.values(), key=lambda outcome: order.index(outcome.measurement.name)
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {**self._facts, **conditions(self.outcomes)}

    def add(self, outcome: Outcome, facts: Mapping[str, str]) -> None:
        self._outcomes[outcome.measurement.name] = outcome
        self._facts = facts
        written = self.path.with_name(self.path.name + ".new")
        written.write_text(as_json(self.outcomes, self.facts) + "\n")
        written.replace(self.path)
