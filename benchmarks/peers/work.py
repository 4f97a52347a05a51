"""The handler's work, the same for everybody: count, or say how long the event was under way."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import tally

URL = os.environ["BENCH_URL"]
SERVICE = os.environ.get("BENCH_SERVICE", "billing")
SECONDS = float(os.environ.get("BENCH_WORK", "0"))


def handle(data: Mapping[str, Any]) -> None:
    if SECONDS:
        time.sleep(SECONDS)
    if "sent" in data:
        tally.arrived(data["sent"])
    else:
        tally.count()


def handle_many(events: Sequence[Any]) -> None:
    tally.count(len(events))
