"""What else the machine does: a sample is only as good as its neighbours are quiet.

The processors' busy time less that of our own processes is the neighbours' share. A sample that
they disturbed is taken again, as long as the patience lasts, and the least disturbed one counts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator
from pathlib import Path

from benchmarks.measurement import Sample, Take

QUIET = 0.10  # of one core
TICK = os.sysconf("SC_CLK_TCK")
BUSY = (0, 1, 2, 5, 6, 7)  # in /proc/stat: user, nice, system, irq, softirq, steal


class Neighbours:
    """`patience`: seconds to wait within one measurement. `shares`: of its samples that count."""

    def __init__(self, patience: float) -> None:
        self.patience = self.left = patience
        self.shares: list[float] = []

    def begin(self) -> None:
        """Another measurement, with patience of its own."""
        self.left = self.patience
        self.shares = []

    def undisturbed(self, take: Take) -> Sample:
        best = self._measured(take)
        while best[0] > QUIET and self._wait_for_quiet():
            best = min(best, self._measured(take), key=lambda sample: sample[0])
        self.shares.append(best[0])
        return best[1]

    def _measured(self, take: Take) -> tuple[float, Sample]:
        with contextlib.closing(share()) as meter:
            next(meter)
            sample = take()
            return next(meter), sample

    def _wait_for_quiet(self) -> bool:
        """Blocks until a moment was quiet; False when there is no patience left."""
        while self.left > 0:
            self.left -= 0.5
            with contextlib.closing(share()) as meter:
                next(meter)
                time.sleep(0.5)
                if next(meter) <= QUIET:
                    return True
        return False


def share() -> Generator[float, None, None]:
    """First nothing, then the cores that others kept busy since. Counts what is alive at both."""
    before, own_before, started = busy(), own(), time.monotonic()
    yield 0.0
    passed = time.monotonic() - started
    now = own()
    ours = sum(now[pid] - own_before.get(pid, 0.0) for pid in now)
    yield max(0.0, busy() - before - ours) / passed


def busy() -> float:
    """Seconds that all processors have been busy since the start of the machine."""
    first = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    return sum(int(first[i]) for i in BUSY) / TICK


def own() -> dict[int, float]:
    """Pid → seconds of CPU, for this process and all that descend from it."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            pid = int(entry.name)
            parents[pid] = int(fields[1])
            # With those of its ended children, so that a short life is counted too.
            used[pid] = sum(int(field) for field in fields[11:15]) / TICK
    return {pid: seconds for pid, seconds in used.items() if descends(pid, parents)}


def descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()
