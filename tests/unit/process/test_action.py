"""What operators do to an instance is checked first, and audited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from celeriac import EventBus, EventTooLarge, NotFound
from celeriac.dead_letter import Note, audit_log
from celeriac.event import decode
from celeriac.outbox.database import Database, open_database
from celeriac.process import create_processes
from celeriac.process.action import fire_now, open_instance, request_abort
from celeriac.process.instance import Instance
from celeriac.testing.store import Store
from tests.unit.process.shop import fulfilment

HANDLER, KEY = "billing.fulfilment", "42"


@pytest.fixture
def database(bus: EventBus, store: Store, tmp_path: Path) -> Iterator[Database]:
    """A database with an open instance, of a process of the tenant acme."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    engine = create_engine(url, poolclass=NullPool)
    create_processes(engine)
    bus.process(fulfilment(engine))
    receiver = bus.service.handlers[HANDLER].receiver
    assert receiver is not None
    receiver(bus.event("order.placed", {"cents": 1}, subject=KEY))
    database = open_database(url)
    yield database
    database.close()


def note(did: str, reason: str = "request 7") -> Note:
    return Note(actor="ann", did=did, what=f"{HANDLER} {KEY}", reason=reason)


def audited(store: Store) -> list[tuple[str, str, str]]:
    return [(each.note.actor, each.note.did, each.note.reason) for each in audit_log(store.backend)]


def test_an_abort_is_requested_and_audited(bus: EventBus, store: Store, database: Database) -> None:
    instance = open_instance(database, HANDLER, KEY)
    id = request_abort(store.backend, bus.settings, instance, note("abort"))
    [entry] = store.event_log.read("process", count=10)
    event = decode(entry.body or b"")
    assert (id, "process.abort_requested", (HANDLER,)) == (event.id, event.type, event.handlers)
    assert b'{"key":"42","reason":"request 7"}' == bytes(event.data or b"")
    assert [("ann", "abort", "request 7")] == audited(store)


def test_an_abort_that_cannot_be_emitted_is_not_audited(
    bus: EventBus, store: Store, database: Database
) -> None:
    instance = open_instance(database, HANDLER, KEY)
    too_long = note("abort", "x" * bus.settings.max_event_bytes)
    with pytest.raises(EventTooLarge):
        request_abort(store.backend, bus.settings, instance, too_long)
    assert ([], []) == (audited(store), store.event_log.read("process", count=10))


@pytest.mark.parametrize(("undo", "tenant"), [((), None), (("first", "acme"), "acme")])
def test_an_abort_has_the_tenant_of_the_newest_undo_event(
    bus: EventBus, store: Store, undo: tuple[str, ...], tenant: str | None
) -> None:
    bodies = [bus.emitter.encode_unsigned(bus.event("a.b", tenant=each)).decode() for each in undo]
    request_abort(store.backend, bus.settings, Instance(HANDLER, KEY, undo=bodies), note("abort"))
    [entry] = store.event_log.read("process", count=10)
    assert tenant == decode(entry.body or b"").tenant


def test_a_timer_expires_now_and_that_is_audited(store: Store, database: Database) -> None:
    instance = open_instance(database, HANDLER, KEY)
    with database.transaction() as execute:
        before = execute("SELECT at_ms FROM celeriac_timer", {})[0][0]
    fire_now(database, store.backend, instance, "unpaid", note("remind"))
    with database.transaction() as execute:
        assert execute("SELECT at_ms FROM celeriac_timer", {})[0][0] < before
    assert [("ann", "remind", "request 7")] == audited(store)


def test_a_timer_that_is_not_set_is_not_found_and_not_audited(
    store: Store, database: Database
) -> None:
    instance = open_instance(database, HANDLER, KEY)
    with pytest.raises(NotFound, match=r"late of billing\.fulfilment 42\. Its timers: unpaid"):
        fire_now(database, store.backend, instance, "late", note("remind"))
    with pytest.raises(NotFound, match="Its timers: none"):
        fire_now(database, store.backend, Instance(HANDLER, KEY), "late", note("remind"))
    assert [] == audited(store)


def test_only_an_open_instance_is_found(database: Database) -> None:
    assert KEY == open_instance(database, HANDLER, KEY).key
    with pytest.raises(NotFound, match=r"not found: billing\.fulfilment 43\."):
        open_instance(database, HANDLER, "43")
    with database.transaction() as execute:
        execute("UPDATE celeriac_process SET status = 'completed'", {})
    with pytest.raises(NotFound, match="is completed already"):
        open_instance(database, HANDLER, KEY)
