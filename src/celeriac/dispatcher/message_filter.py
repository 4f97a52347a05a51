"""Decide which of a group's fetched entries the handler wants. Pure except for `when=`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from celeriac.contract import read_data
from celeriac.delivery import MAX_REQUEUE_DELAY_MS, REQUEUE_DELAY_MS, Completion, Delivery, Outcome
from celeriac.dispatcher.chunk import Item
from celeriac.errors import InvalidEvent
from celeriac.event import (
    EventHeader,
    Matcher,
    compile_patterns,
    decode,
    is_encrypted,
    meant_for,
    read_header,
)
from celeriac.event_log import entry_time_ms
from celeriac.handler import Handler
from celeriac.tenant import is_excluded, is_for_other_code, is_tenant_mark, other_interests


@dataclass(slots=True)
class FilteredDeliveries:
    """`invalid` pairs an entry with its error; `gone` are entries that were deleted outside
    celeriac.

    `sources` are those of the events that will have rows in the delivery store, each with an entry.
    """

    wanted: list[Item] = field(default_factory=list)
    unwanted: list[Completion] = field(default_factory=list)
    invalid: list[tuple[str, str]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


def filter_deliveries(
    handler: Handler,
    deliveries: Sequence[Delivery],
    in_force: Sequence[str] = (),
    retired: Mapping[str, int] = MappingProxyType({}),
    *,
    domain: str,
) -> FilteredDeliveries:
    """Sort deliveries of the log of `domain` by what happens to them next.

    `in_force` are the patterns and tenants of every version of the handler. Events that only other
    versions want are requeued, for a worker with that code. `retired` has the time (ms) at which
    patterns were retired: earlier events waited for that code and are recorded as skipped.
    """
    result = FilteredDeliveries()
    others = other_interests(in_force, handler.interests)
    patterns = sorted(text for text in others if not is_tenant_mark(text))
    other = compile_patterns(*patterns) if patterns else None
    old = [(compile_patterns(pattern), at_ms) for pattern, at_ms in retired.items()]
    for delivery in deliveries:
        if delivery.body is None:
            result.gone.append(delivery.entry)
            continue
        try:
            event = read_header(delivery.body, domain)
            outcome = outcome_of(handler, event, delivery.body)
        except InvalidEvent as error:
            result.invalid.append((delivery.entry, str(error)))
            continue
        item = Item(delivery.entry, delivery.attempts, event, delivery.lost_runs, delivery.together)
        if outcome is None and delivery.into:
            result.sources[event.source] = delivery.entry
            result.unwanted.append(item.coalesced(delivery.into))
        elif outcome is None:
            result.wanted.append(item)
            result.sources[event.source] = delivery.entry
        elif (
            other
            and not handler.matcher.matches(event.type)
            and meant_for(handler.id, other.matches(event.type), event.handlers)
        ) or (
            outcome is Outcome.SKIPPED and is_for_other_code(event.tenant, handler.tenants, others)
        ):
            result.unwanted.append(item.requeued(until_other_code_ms(delivery.entry)))
        else:
            if outcome is Outcome.IGNORED and old and _waited(handler, delivery.entry, event, old):
                outcome = Outcome.SKIPPED
            if outcome is Outcome.SKIPPED:
                result.sources[event.source] = delivery.entry
            result.unwanted.append(
                Completion(delivery.entry, event.key, delivery.attempts, outcome, type=event.type)
            )
    return result


def until_other_code_ms(entry: str) -> int:
    """Return the delay until the next search for a worker whose code wants the event: a tenth of
    the age of the entry, from 1 s to 1 min, so that many long-waiting entries cost little."""
    age = int(time.time() * 1000) - entry_time_ms(entry)
    return max(REQUEUE_DELAY_MS, min(age // 10, MAX_REQUEUE_DELAY_MS))


def _waited(
    handler: Handler, entry: str, event: EventHeader, retired: Sequence[tuple[Matcher, int]]
) -> bool:
    appended = entry_time_ms(entry)
    return any(
        appended <= at_ms and meant_for(handler.id, matcher.matches(event.type), event.handlers)
        for matcher, at_ms in retired
    )


def outcome_of(handler: Handler, event: EventHeader, body: bytes) -> Outcome | None:
    """Return None if the handler wants the event; else the outcome, without a run."""
    if not meant_for(handler.id, handler.matcher.matches(event.type), event.handlers):
        return Outcome.IGNORED
    # If the handler requires a signature, the executor filters after verification.
    if not handler.has_filter or handler.signed:
        return None
    if is_excluded(event.tenant, handler.tenants) or not wants(handler, body):
        return Outcome.SKIPPED
    return None


def wants(handler: Handler, body: bytes) -> bool:
    """Return the result of `when=`; True if the executor must decide.

    If `when=` raises, the executor calls it again, and the error counts as the handler's failure:
    it is recorded, retried, and finally dead-lettered. The executor also decrypts encrypted events.
    """
    if handler.when is None:
        return True
    try:
        event: Any = decode(body)
        if is_encrypted(event):
            return True
        return bool(handler.when(read_data(event, handler.data_type)))
    except InvalidEvent:
        # The executor dead-letters invalid data; an invalid envelope is dead-lettered here.
        decode(body)
        return True
    except Exception:
        return True
    except (SystemExit, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException:
        # A native extension panicked, which must not end the dispatcher's thread.
        return True
