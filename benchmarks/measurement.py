"""The definition of a measurement: its candidates, and goals for the ratios between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.bench import Bench

Sample = Mapping[str, float]  # unit → value
TakeSample = Callable[[], Sample]


@dataclass(frozen=True)
class Candidate:
    """A tool in one configuration.

    `peer` is a module of `benchmarks.peers`, and `options` are its environment. `mode` is the
    function that emits. `fanout` is the number of handler runs for one event. `events` fixes the
    number of events of a sample, which otherwise fits the time. A `durable` candidate uses a server
    with an append-only file that is flushed every second. Only `quick` candidates run with --quick.
    """

    name: str
    peer: str
    _: KW_ONLY
    mode: str = "single"
    options: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ("billing",)
    workers: int = 1
    processes: int = 2
    pool: str = "prefork"
    fanout: int = 1
    events: int | None = None
    durable: bool = False
    quick: bool = True


Open = Callable[["Bench", Candidate, str], AbstractContextManager[TakeSample]]


@dataclass(frozen=True)
class Goal:
    """A bound for one candidate's value over another's; for the value itself without `to`.

    Without `unit`, the first unit of the measurement is used. `headline` is the text of the goal in
    the README; empty if it is not in the README.
    """

    text: str
    of: str
    to: str | None = None
    _: KW_ONLY
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    headline: str = ""

    def holds(self, value: float) -> bool:
        return (self.minimum is None or value >= self.minimum) and (
            self.maximum is None or value <= self.maximum
        )

    @property
    def bound(self) -> str:
        return f"≥ {self.minimum:g}" if self.minimum is not None else f"≤ {self.maximum:g}"


@dataclass(frozen=True)
class Measurement:
    """`open` prepares a candidate on an empty database and yields a function that samples it."""

    name: str
    title: str
    unit: str
    open: Open
    _: KW_ONLY
    candidates: tuple[Candidate, ...]
    goals: tuple[Goal, ...] = ()
    rounds: int | None = None  # 1 is enough for a value that does not vary
    beside: str = ""  # the candidate to whose value the others are shown as ratios


@dataclass
class Outcome:
    """The samples of each candidate in the order of the rounds, and the reasons of failures.

    `seconds` is the duration of the measurement. `neighbours` are the cores that other processes
    used during each sample.
    """

    measurement: Measurement
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    neighbours: list[float] = field(default_factory=list)

    def values(self, candidate: str, unit: str) -> list[float]:
        return [s[unit] for s in self.samples.get(candidate, ()) if unit in s]

    def ratios(self, goal: Goal) -> list[float]:
        """Return a ratio for each round, of values that were measured seconds apart."""
        unit = goal.unit or self.measurement.unit
        values = self.values(goal.of, unit)
        if goal.to is None:
            return values
        reference = self.values(goal.to, unit)
        return [a / b for a, b in zip(values, reference, strict=False) if b]

    def median(self, candidate: str, unit: str) -> float | None:
        values = self.values(candidate, unit)
        return median(values) if values else None

    @property
    def units(self) -> list[str]:
        samples = (sample for samples in self.samples.values() for sample in samples)
        return list(dict.fromkeys(unit for sample in samples for unit in sample))
