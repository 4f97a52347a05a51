"""The CPU time that the server and a candidate use for a sample: it shows what limits a figure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measurement import Sample
from benchmarks.workers import cpu_seconds


@dataclass(frozen=True)
class CpuMeter:
    """Measures the CPU time of the server and of the candidate's processes since `start`."""

    server: Sequence[int]
    processes: Sequence[int]
    server_before: float
    processes_before: float
    started: float

    @classmethod
    def start(cls, server: Sequence[int], processes: Sequence[int]) -> CpuMeter:
        return cls(server, processes, cpu_seconds(server), cpu_seconds(processes), time.monotonic())

    def stop(self, count: int, what: str, name: str) -> Sample:
        """Return the µs for each of `count`, and the % of one core."""
        server = cpu_seconds(self.server) - self.server_before
        used = cpu_seconds(self.processes) - self.processes_before
        passed = time.monotonic() - self.started
        return {
            f"server µs/{what}": server * 1e6 / count,
            f"{name} µs/{what}": used * 1e6 / count,
            "server %": 100 * server / passed,
            f"{name} %": 100 * used / passed,
        }
