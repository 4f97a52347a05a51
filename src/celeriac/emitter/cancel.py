"""Cancelling delayed events."""

from __future__ import annotations

import redis

from celeriac.errors import BusUnavailable, ConfigurationError
from celeriac.event import event_key
from celeriac.event.attributes import check_id, check_text, check_type
from celeriac.event_log import EventLog
from celeriac.settings import Settings
from celeriac.store.redis.connection import is_refused, persist
from celeriac.store.redis.refusal import nothing_written


def cancel_event(
    event_log: EventLog, settings: Settings, event_id: str, type: str | None, source: str | None
) -> bool:
    """Remove the delayed event; return whether it was removed. See EventBus.cancel."""
    check_id(event_id)
    check_text("source", source or settings.source)
    if type is not None:
        check_type(type)
    key = event_key(event_id, source or settings.source)
    is_answer_lost = False

    def cancel() -> bool:
        nonlocal is_answer_lost
        try:
            domains = [type.partition(".")[0]] if type else _domains(event_log)
            return event_log.cancel_delayed(key, domains)
        except redis.RedisError as error:
            is_answer_lost = is_answer_lost or not nothing_written(error)
            raise

    is_cancelled = persist(cancel, url=settings.redis_url, seconds=settings.emit_timeout)
    if is_answer_lost and not is_cancelled:
        raise BusUnavailable(
            f"it is unknown whether event {event_id} was cancelled: the reply of Redis was lost, "
            f"and the event is no longer delayed. Look it up with `celeriac status {event_id}`"
        )
    return is_cancelled


def _domains(event_log: EventLog) -> list[str]:
    try:
        return sorted(event_log.domains())
    except redis.ResponseError as error:
        if not is_refused(error):
            raise
        raise ConfigurationError(
            "cancel without type= reads the list of domains, which the ACL of Redis forbids for "
            "this service. Give the type of the event: bus.cancel(id, type='order.reminded')"
        ) from error
