"""What operators do to an instance: abort it, or let a timer expire now. Both are audited."""

from __future__ import annotations

from celeriac.dead_letter.audit import BUS, Note
from celeriac.emitter import Emitter
from celeriac.errors import NotFound
from celeriac.event import decode
from celeriac.outbox.database import Database
from celeriac.process.decision import Status
from celeriac.process.definition import ABORT_REQUESTED
from celeriac.process.instance import Instance
from celeriac.process.query import fire_timer, history
from celeriac.settings import Settings
from celeriac.store.factory import Backend


def open_instance(database: Database, handler: str, key: str) -> Instance:
    """Return the instance. Raises NotFound if there is none, or if it has ended. Blocks."""
    stored = history(database, handler, key)
    if stored is None:
        raise NotFound(
            f"instance not found: {handler} {key}. List instances with `celeriac process list`."
        )
    if stored.instance.status is not Status.OPEN:
        raise NotFound(f"instance is {stored.instance.status} already: {handler} {key}.")
    return stored.instance


def request_abort(backend: Backend, settings: Settings, instance: Instance, note: Note) -> str:
    """Request that the process aborts the instance, with the reason of the note.

    Returns the id of the event that requests it. The process handles it like every event, so undo
    events follow within moments if a worker runs. It has the tenant of the undo events. Blocks.
    Raises BusUnavailable, and InvalidEvent if CELERIAC_TENANTS allows no event without a tenant.
    """
    emitter = Emitter(settings, lambda: backend.event_log)
    event = emitter.build(
        ABORT_REQUESTED,
        {"key": instance.key, "reason": note.reason},
        handlers=(instance.handler,),
        tenant=_tenant_of(instance),
    )
    emitter.encode_unsigned(event)
    backend.deliveries.record(BUS, note.encode())
    return emitter.emit(event)


def _tenant_of(instance: Instance) -> str | None:
    """Return the tenant of the newest event that undoes something, if any."""
    return decode(instance.undo[-1].encode()).tenant if instance.undo else None


def fire_now(
    database: Database, backend: Backend, instance: Instance, timer: str, note: Note
) -> None:
    """Let a timer expire now. Blocks. Raises NotFound for a timer that is not set."""
    if timer not in instance.timers:
        known = ", ".join(instance.timers) or "none"
        raise NotFound(
            f"timer is not set: {timer} of {instance.handler} {instance.key}. Its timers: {known}."
        )
    backend.deliveries.record(BUS, note.encode())
    fire_timer(database, instance.handler, instance.key, timer)
