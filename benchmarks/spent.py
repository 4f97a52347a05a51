"""Who spends how much CPU on a sample: it says what limits a figure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.crew import cpu_seconds
from benchmarks.measurement import Sample


@dataclass(frozen=True)
class Meter:
    """CPU seconds since it was made, of the server and of the contestant's own processes."""

    server: Sequence[int]
    own: Sequence[int]
    server_before: float
    own_before: float
    started: float

    @classmethod
    def start(cls, server: Sequence[int], own: Sequence[int]) -> Meter:
        return cls(server, own, cpu_seconds(server), cpu_seconds(own), time.monotonic())

    def stop(self, count: int, what: str, own: str) -> Sample:
        """µs for each of `count`, and % of one core, until now."""
        server = cpu_seconds(self.server) - self.server_before
        mine = cpu_seconds(self.own) - self.own_before
        passed = time.monotonic() - self.started
        return {
            f"server µs/{what}": server * 1e6 / count,
            f"{own} µs/{what}": mine * 1e6 / count,
            "server %": 100 * server / passed,
            f"{own} %": 100 * mine / passed,
        }
