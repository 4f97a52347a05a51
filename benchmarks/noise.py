"""The load of other processes on the machine, which disturbs samples.

It is the busy time of all processors minus the CPU time of the benchmark's own processes. A
disturbed sample is repeated until the patience ends. The least disturbed sample counts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator
from pathlib import Path

from benchmarks.measurement import Sample, TakeSample

QUIET = 0.10  # of one core
TICK = os.sysconf("SC_CLK_TCK")
BUSY = (0, 1, 2, 5, 6, 7)  # in /proc/stat: user, nice, system, irq, softirq, steal


class NoiseMonitor:
    """`patience` is in seconds for one measurement. `shares` has the load during each sample."""

    def __init__(self, patience: float) -> None:
        self.patience = self._remaining = patience
        self.shares: list[float] = []

    def begin(self) -> None:
        """Start a measurement, with the full patience."""
        self._remaining = self.patience
        self.shares = []

    def undisturbed(self, take_sample: TakeSample) -> Sample:
        best = self._measured(take_sample)
        while best[0] > QUIET and self._wait_for_quiet():
            best = min(best, self._measured(take_sample), key=lambda sample: sample[0])
        self.shares.append(best[0])
        return best[1]

    def _measured(self, take_sample: TakeSample) -> tuple[float, Sample]:
        with contextlib.closing(share()) as meter:
            next(meter)
            sample = take_sample()
            return next(meter), sample

    def _wait_for_quiet(self) -> bool:
        """Block until the machine is quiet for half a second. Return False if the patience ends."""
        while self._remaining > 0:
            self._remaining -= 0.5
            with contextlib.closing(share()) as meter:
                next(meter)
                time.sleep(0.5)
                if next(meter) <= QUIET:
                    return True
        return False


def share() -> Generator[float, None, None]:
    """Yield 0, then the cores that other processes used in between."""
    before, before_by_pid, started = busy(), cpu_of_descendants(), time.monotonic()
    yield 0.0
    passed = time.monotonic() - started
    now = cpu_of_descendants()
    ours = sum(now[pid] - before_by_pid.get(pid, 0.0) for pid in now)
    yield max(0.0, busy() - before - ours) / passed


def busy() -> float:
    """Return the busy time of all processors since the start of the machine, in seconds."""
    first = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    return sum(int(first[i]) for i in BUSY) / TICK


def cpu_of_descendants() -> dict[int, float]:
    """Return pid → CPU seconds of this process and its descendants."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            pid = int(entry.name)
            parents[pid] = int(fields[1])
            # Including ended children, which may have been short-lived.
            used[pid] = sum(int(field) for field in fields[11:15]) / TICK
    return {pid: seconds for pid, seconds in used.items() if descends(pid, parents)}


def descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()
