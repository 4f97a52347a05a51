"""Which of the entries that a group was given the handler wants. Pure but for `when=`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from celeriac.dispatcher.chunk import Item
from celeriac.errors import InvalidEvent
from celeriac.event import (
    Peek,
    compile_patterns,
    decode,
    decode_data,
    is_encrypted,
    meant_for,
    peek,
)
from celeriac.ledger import PUT_OFF_MS, Delivery, Outcome, Settled
from celeriac.subscription import Handler


@dataclass(slots=True)
class Sifted:
    """`invalid` pairs an entry with what is wrong; `gone` are entries trimmed by another hand."""

    wanted: list[Item] = field(default_factory=list)
    unwanted: list[Settled] = field(default_factory=list)
    invalid: list[tuple[str, str]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def sift(
    handler: Handler, deliveries: Sequence[Delivery], newest: Sequence[str] = (), *, domain: str
) -> Sifted:
    """Sorts deliveries, which are of the log of `domain`, by what is to be done with them.

    `newest` are the patterns of the newest code of the handler: what they reach and this code's do
    not is put off, for a worker that has that code.
    """
    sifted = Sifted()
    newer = compile_patterns(*newest) if newest and set(newest) != set(handler.patterns) else None
    for delivery in deliveries:
        if delivery.body is None:
            sifted.gone.append(delivery.entry)
            continue
        try:
            event = peek(delivery.body, domain)
            outcome = verdict(handler, event, delivery.body)
        except InvalidEvent as error:
            sifted.invalid.append((delivery.entry, str(error)))
            continue
        item = Item(delivery.entry, delivery.attempts, event)
        if outcome is None:
            sifted.wanted.append(item)
        elif (
            newer
            and not handler.matcher.matches(event.type)
            and meant_for(handler.id, newer.matches(event.type), event.handlers)
        ):
            sifted.unwanted.append(item.put_off(PUT_OFF_MS))
        else:
            sifted.unwanted.append(
                Settled(delivery.entry, event.id, delivery.attempts, outcome, type=event.type)
            )
    return sifted


def verdict(handler: Handler, event: Peek, body: bytes) -> Outcome | None:
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
        return bool(handler.when(decode_data(event, handler.data_type)))
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
