"""The work of a handler, the same for all candidates: count, or record the event's latency."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import run_counter

URL = os.environ["BENCH_URL"]
SERVICE = os.environ.get("BENCH_SERVICE", "billing")
SECONDS = float(os.environ.get("BENCH_WORK", "0"))


def handle(data: Mapping[str, Any]) -> None:
    if SECONDS:
        time.sleep(SECONDS)
    if "sent" in data:
        run_counter.arrived(data["sent"])
    else:
        run_counter.count()


def handle_many(events: Sequence[Any]) -> None:
    run_counter.count(len(events))
