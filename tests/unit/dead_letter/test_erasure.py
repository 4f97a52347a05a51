from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import redis

from celeriac import EventBus
from celeriac.dead_letter import audit_log
from celeriac.subject_keys import MemorySubjectKeys
from celeriac.testing import in_memory


class LossyAuditLog:
    """Fails `failures` times, before or after it wrote the note."""

    def __init__(self, bus: EventBus, *, failures: int, is_written: bool) -> None:
        self._record = bus.service.backend.deliveries.record
        self._failures, self._is_written = failures, is_written

    def record(self, domain: str, note: bytes) -> None:
        if self._failures == 0 or self._is_written:
            self._record(domain, note)
        if self._failures:
            self._failures -= 1
            raise redis.ConnectionError("reset")


@pytest.mark.parametrize("failures", [1, 3])
@pytest.mark.parametrize("is_written", [False, True])
def test_an_erasure_is_new_and_recorded_once_although_redis_was_away(
    monkeypatch: pytest.MonkeyPatch, failures: int, is_written: bool
) -> None:
    own = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    monkeypatch.setattr("celeriac.store.redis.connection.time", own)
    bus = EventBus(service="customers", subject_keys=MemorySubjectKeys())
    with in_memory(bus):
        lossy = LossyAuditLog(bus, failures=failures, is_written=is_written)
        monkeypatch.setattr(bus.service.backend.deliveries, "record", lossy.record)
        erasure = bus.erase("customer-42", actor="ann", reason="request 7")
        assert erasure.is_new
        [entry] = audit_log(bus.service.backend)
    assert ("ann", "customer-42", "request 7", erasure.key_id) == (
        entry.note.actor, entry.note.what, entry.note.reason, entry.note.key,
    )  # fmt: skip


def test_a_new_erasure_does_not_read_the_audit_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be long, and many subjects may be erased one after the other."""
    bus = EventBus(service="customers", subject_keys=MemorySubjectKeys())
    with in_memory(bus):
        with monkeypatch.context() as unreadable:
            unreadable.setattr(bus.service.backend.deliveries, "audit_log", None)
            bus.erase("customer-42", actor="ann")
        assert 1 == len(audit_log(bus.service.backend))
