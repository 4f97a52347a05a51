"""A result that was printed with --json, read again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.curves import CURVES
from benchmarks.measurement import Outcome
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
        Outcome(known[name], dict(found["samples"]), dict(found["failed"]))
        for name, found in document["measured"].items()
        if name in known
    ]
    return outcomes, document["facts"]
