"""A result that Redis refuses to take for longer than a lease is kept, and told once."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ResponseError

from celeriac.delivery import Completion, Group, Outcome
from celeriac.executor import executor as module
from celeriac.settings import Settings


def test_a_result_outlives_a_refusal_of_many_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    class DeliveryStore:
        calls = 0

        def begin_complete(self, *told: Any) -> Any:
            raise ResponseError("MISCONF unable to persist to disk")

        def complete(self, *told: Any) -> list[str]:
            self.calls += 1
            if now[0] < 600:
                raise ResponseError("MISCONF unable to persist to disk")
            return []

    deliveries = DeliveryStore()
    service: Any = SimpleNamespace(
        settings=Settings.load({}, service="billing", lease=1),
        backend=SimpleNamespace(deliveries=deliveries),
    )
    monkeypatch.setattr("celeriac.executor.process.LeaseKeeper", lambda service: None)
    executor = module.Executor(service)
    settled = Completion("1-0", "a", 1, Outcome.PROCESSED)
    answer = executor._begin_complete(("w", Group("billing.h", "order"), [settled], 0))
    assert answer() == []
    assert deliveries.calls > 100
