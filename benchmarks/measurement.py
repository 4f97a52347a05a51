"""What is measured: contestants that take turns, and goals for the ratios between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.bench import Bench

Sample = Mapping[str, float]  # unit → value
Take = Callable[[], Sample]


@dataclass(frozen=True)
class Contestant:
    """A peer in one setting. `peer` is a module of `benchmarks.peers`, `options` its environment.

    `act` is what it does to emit; `fanout` how many handler runs one event causes; `events` a fixed
    number of events a sample instead of one that fits the time. `durable` ones work on a server
    with an append-only file, flushed every second. Only `quick` ones run in --quick.
    """

    name: str
    peer: str
    _: KW_ONLY
    act: str = "one"
    options: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ("billing",)
    workers: int = 1
    processes: int = 2
    pool: str = "prefork"
    fanout: int = 1
    events: int | None = None
    durable: bool = False
    quick: bool = True


Open = Callable[["Bench", Contestant, str], AbstractContextManager[Take]]


@dataclass(frozen=True)
class Goal:
    """A bound for one contestant's value over another's; for the value itself without `to`.

    The unit is the measurement's first one where none is given. `headline` is how the README says
    it; empty for a goal that does not stand there.
    """

    text: str
    of: str
    to: str | None = None
    _: KW_ONLY
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    headline: str = ""

    def holds(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    @property
    def bound(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


@dataclass(frozen=True)
class Measurement:
    """`open` prepares a contestant on an empty database and yields what takes one sample."""

    name: str
    title: str
    unit: str
    open: Open
    _: KW_ONLY
    contestants: tuple[Contestant, ...]
    goals: tuple[Goal, ...] = ()
    rounds: int | None = None  # where one says enough, since it does not vary
    beside: str = ""  # the contestant over whose value each one's own is shown as a ratio


@dataclass
class Outcome:
    """Samples by contestant, in the order of the rounds; why it has none, where it failed.

    `seconds` is how long it took, `neighbours` the cores that others used during each sample."""

    measurement: Measurement
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    neighbours: list[float] = field(default_factory=list)

    def values(self, contestant: str, unit: str) -> list[float]:
        return [s[unit] for s in self.samples.get(contestant, ()) if unit in s]

    def ratios(self, goal: Goal) -> list[float]:
        """One for each round, of values that were measured seconds apart."""
        unit = goal.unit or self.measurement.unit
        own = self.values(goal.of, unit)
        if goal.to is None:
            return own
        other = self.values(goal.to, unit)
        return [a / b for a, b in zip(own, other, strict=False) if b]

    def median(self, contestant: str, unit: str) -> float | None:
        values = self.values(contestant, unit)
        return median(values) if values else None

    @property
    def units(self) -> list[str]:
        return list(dict.fromkeys(u for s in self.samples.values() for one in s for u in one))
