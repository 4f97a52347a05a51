"""Random clients of one handler at two gateways, which crash, repeat themselves and come late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from celeriac.delivery import DeliveryState
from celeriac.pull.pulled import PulledDelivery
from celeriac.pull.refusal import LeaseLost
from tests.unit.pull.conftest import INDEX, PullBus, id_of

OUTCOMES = ("processed", "processed", "failed", "dead", "skipped")
ENDED = {DeliveryState.PROCESSED, DeliveryState.DEAD, DeliveryState.SKIPPED}


@dataclass
class Life:
    """What the clients have, had and reported."""

    pull: PullBus
    random: Random
    held: list[PulledDelivery] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)
    ended: dict[str, DeliveryState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gateways = [self.pull.handlers, self.pull.gateway()]

    def fetch(self) -> None:
        gateway = self.random.choice(self.gateways)
        for delivery in gateway.fetch(INDEX, self.random.randint(1, 3)).deliveries:
            event = id_of(delivery)
            assert event not in self.ended, "a completed delivery came again"
            assert delivery.attempt == self.newest.get(event, 0) + 1
            self.newest[event] = delivery.attempt
            self.held.append(delivery)

    def complete(self) -> None:
        if not self.held:
            return
        delivery = self.random.choice(self.held)
        event, outcome = id_of(delivery), self.random.choice(OUTCOMES)
        gateway = self.random.choice(self.gateways)
        try:
            state = self.pull.complete(delivery, outcome, handlers=gateway).state
        except LeaseLost:
            assert delivery.attempt < self.newest[event] or self.was_reported(delivery)
            return
        assert delivery.attempt == self.newest[event], "a late result was accepted"
        if state in ENDED:
            assert self.ended.setdefault(event, state) is state, "a second outcome was accepted"
        else:
            assert event not in self.ended
            self.reported.add((event, delivery.attempt))

    reported: set[tuple[str, int]] = field(default_factory=set)

    def was_reported(self, delivery: PulledDelivery) -> bool:
        event = id_of(delivery)
        return event in self.ended or (event, delivery.attempt) in self.reported

    def renew(self) -> None:
        if not self.held:
            return
        delivery = self.random.choice(self.held)
        gateway = self.random.choice(self.gateways)
        try:
            gateway.renew(INDEX, delivery.reference, delivery.attempt)
        except LeaseLost:
            assert delivery.attempt < self.newest[id_of(delivery)] or self.was_reported(delivery)
            return
        assert delivery.attempt == self.newest[id_of(delivery)]
        assert not self.was_reported(delivery)

    def step(self) -> None:
        steps: list[Callable[[], object]] = [
            self.pull.emit, self.fetch, self.complete, self.renew, self.time,
        ]  # fmt: skip
        self.random.choices(steps, [2, 4, 5, 1, 1])[0]()

    def time(self) -> None:
        self.pull.pass_time(self.random.choice([1, 20, 40]))

    def drain(self, events: int) -> None:
        for _ in range(200):
            if len(self.ended) == events:
                return
            self.fetch()
            for delivery in self.held:
                if delivery.attempt == self.newest[id_of(delivery)]:
                    try:
                        state = self.pull.complete(delivery).state
                    except LeaseLost:
                        continue
                    if state in ENDED:
                        self.ended.setdefault(id_of(delivery), state)
            self.pull.pass_time(600)
        raise AssertionError("deliveries are left")


@pytest.mark.parametrize("seed", range(12))
def test_each_event_ends_once_whatever_clients_do(pull: PullBus, seed: int) -> None:
    pull.register(lease=30, backoff=1, retries=3)
    life = Life(pull, Random(seed))
    for _ in range(60):
        life.step()
    events = len(pull.backend.event_log.read("order")) if life.newest else 0
    life.drain(events)
    group = pull.group()
    stored = pull.backend.deliveries.rows(group, [pull.key(event) for event in life.ended])
    assert [row.state for row in stored if row is not None] == list(life.ended.values())
    assert pull.backend.deliveries.dead_count("order") == list(life.ended.values()).count(
        DeliveryState.DEAD
    )
