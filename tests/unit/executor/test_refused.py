"""A result that Redis refuses for longer than a lease is kept, and reported once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ResponseError

from celeriac.delivery import Completion, Group, Outcome
from celeriac.delivery.pending_reply import ReceivedReply
from celeriac.executor import executor as module
from celeriac.settings import Settings


def test_a_result_outlives_a_refusal_of_many_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    # Not of the module: threads of other tests sleep too.
    own = SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    monkeypatch.setattr("celeriac.store.redis.connection.time", own)

    class DeliveryStore:
        calls = 0

        def begin_complete(self, *told: Any) -> ReceivedReply[list[str]]:
            self.calls += 1
            if now[0] < 600:
                raise ResponseError("MISCONF unable to persist to disk")
            return ReceivedReply([])

    deliveries = DeliveryStore()
    service: Any = SimpleNamespace(
        worker="w",
        settings=Settings.load({}, service="billing", lease=1),
        backend=SimpleNamespace(deliveries=deliveries),
    )
    monkeypatch.setattr("celeriac.executor.process.LeaseKeeper", lambda service: None)
    executor = module.Executor(service)
    settled = Completion("1-0", "a", 1, Outcome.PROCESSED)
    answer = executor._begin_complete(Group("billing.h", "order"), [settled], 0)
    assert answer.result() == []
    assert deliveries.calls > 100
