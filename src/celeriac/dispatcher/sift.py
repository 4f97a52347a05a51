"""Which of the entries that a group was given the handler wants. Pure but for `when=`."""

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


@dataclass(slots=True)
class Sifted:
    """`invalid` pairs an entry with what is wrong; `gone` are entries trimmed by another hand.
    `sources` are those of the events that the ledger will have rows of, each with an entry."""

    wanted: list[Item] = field(default_factory=list)
    unwanted: list[Completion] = field(default_factory=list)
    invalid: list[tuple[str, str]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


def sift(
    handler: Handler,
    deliveries: Sequence[Delivery],
    in_force: Sequence[str] = (),
    retired: Mapping[str, int] = MappingProxyType({}),
    *,
    domain: str,
) -> Sifted:
    """Sorts deliveries, which are of the log of `domain`, by what is to be done with them.

    `in_force` are the patterns of every version of the handler: what they reach and this code's do
    not is put off, for a worker that has that code. `retired` says when (ms) other patterns went
    out of force: what came before that waited, so it is recorded as skipped.
    """
    sifted = Sifted()
    others = sorted({*in_force} - {*handler.patterns})
    other = compile_patterns(*others) if others else None
    old = [(compile_patterns(pattern), at_ms) for pattern, at_ms in retired.items()]
    for delivery in deliveries:
        if delivery.body is None:
            sifted.gone.append(delivery.entry)
            continue
        try:
            event = read_header(delivery.body, domain)
            outcome = verdict(handler, event, delivery.body)
        except InvalidEvent as error:
            sifted.invalid.append((delivery.entry, str(error)))
            continue
        item = Item(delivery.entry, delivery.attempts, event, delivery.lost_runs, delivery.together)
        if outcome is None and delivery.into:
            sifted.sources[event.source] = delivery.entry
            sifted.unwanted.append(item.coalesced(delivery.into))
        elif outcome is None:
            sifted.wanted.append(item)
            sifted.sources[event.source] = delivery.entry
        elif (
            other
            and not handler.matcher.matches(event.type)
            and meant_for(handler.id, other.matches(event.type), event.handlers)
        ):
            sifted.unwanted.append(item.put_off(until_other_code_ms(delivery.entry)))
        else:
            if outcome is Outcome.IGNORED and old and _waited(handler, delivery.entry, event, old):
                outcome = Outcome.SKIPPED
            if outcome is Outcome.SKIPPED:
                sifted.sources[event.source] = delivery.entry
            sifted.unwanted.append(
                Completion(delivery.entry, event.key, delivery.attempts, outcome, type=event.type)
            )
    return sifted


def until_other_code_ms(entry: str) -> int:
    """After which time to look again for a worker whose code wants the event: a tenth of the age
    of the entry, from 1 s to 1 min, so that many which wait long cost little."""
    age = int(time.time() * 1000) - entry_time_ms(entry)
    return max(REQUEUE_DELAY_MS, min(age // 10, MAX_REQUEUE_DELAY_MS))


def _waited(
    handler: Handler, entry: str, event: EventHeader, retired: Sequence[tuple[Matcher, int]]
) -> bool:
    came = entry_time_ms(entry)
    return any(
        came <= at_ms and meant_for(handler.id, matcher.matches(event.type), event.handlers)
        for matcher, at_ms in retired
    )


def verdict(handler: Handler, event: EventHeader, body: bytes) -> Outcome | None:
    """None if the handler wants the event; else how it is settled in passing."""
    if not meant_for(handler.id, handler.matcher.matches(event.type), event.handlers):
        return Outcome.IGNORED
    # Where it demands a signature, the executor asks, once it has verified that.
    if handler.when is not None and not handler.signed and not wants(handler, body):
        return Outcome.SKIPPED
    return None


def wants(handler: Handler, body: bytes) -> bool:
    """What `when=` says. If it fails, the event goes to the executor, where the same failure
    counts as the handler's own: it is recorded, retried, and in the end dead. So does an
    encrypted event, which the executor opens."""
    if handler.when is None:
        return True
    try:
        event: Any = decode(body)
        if is_encrypted(event):
            return True
        return bool(handler.when(read_data(event, handler.data_type)))
    except InvalidEvent:
        # Data that does not fit is the executor's to bury; an envelope that does not, ours.
        decode(body)
        return True
    except Exception:
        return True
    except (SystemExit, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException:
        # A native extension panicked. The dispatcher's thread must not end with it.
        return True
