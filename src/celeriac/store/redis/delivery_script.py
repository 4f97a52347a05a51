"""What the scripts of the ledger are told, and what they answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from celeriac.delivery.state import Outcome, Verdict
from celeriac.delivery.store import Completion, DeadLetter, Delivery, FetchResult
from celeriac.errors import SubscriptionError
from celeriac.event import EmittedEvent, EmittedEvents
from celeriac.event.pattern import check_pattern
from celeriac.event_log import Entry, EntryKind, read_entry
from celeriac.event_log.registered import parse_intervals
from celeriac.flow_control import FlowControl
from celeriac.invalid_record import clamped_time


def format_effects(emitted_events: EmittedEvents) -> str:
    """A line for each that is named, and `+N` for the number of the others."""
    lines = [f"{effect.type} {effect.key}" for effect in emitted_events.named]
    if emitted_events.unnamed:
        lines.append(f"+{emitted_events.unnamed}")
    return "\n".join(lines)


def parse_effects(stored: bytes | None) -> EmittedEvents:
    lines = stored.decode(errors="replace").split("\n") if stored else []
    unnamed = lines.pop()[1:] if lines and lines[-1].startswith("+") else ""
    pairs = (line.partition(" ") for line in lines)
    named = tuple(EmittedEvent(type, key) for type, _, key in pairs if key)
    return EmittedEvents(named, int(unnamed) if unnamed.isdecimal() else 0)


_encode = msgspec.msgpack.Encoder().encode


def pack_lists(lists: Iterable[Sequence[Any]]) -> bytes:
    """Many arguments of a script as one, which its `cmsgpack.unpack` gives back one by one."""
    return b"".join(map(_encode, lists))


def pack_plain(settled: Sequence[Completion]) -> bytes:
    """Of what is plainly processed, the four lists that complete.lua is told."""
    return pack_lists(
        (
            [one.entry for one in settled],
            [one.event_key for one in settled],
            [one.attempt for one in settled],
            [one.took_us for one in settled],
        )
    )


@lru_cache(maxsize=256)
def pack_flow(flow: FlowControl | None) -> bytes:
    """The limits of a handler's keys, as _keyed.lua reads them."""
    if flow is None:
        return b""
    return _encode(
        {
            "key": flow.key,
            "ordered": flow.ordered,
            "concurrency": flow.concurrency or 0,
            "per_second": flow.per_second or 0.0,
            "fair": flow.fair,
            "weights": dict(flow.weights),
            "quiet_ms": flow.quiet_ms,
            "max_quiet_ms": flow.max_quiet_ms,
            "keep": flow.keep,
        }
    )


@dataclass(frozen=True, slots=True)
class Noted:
    """What `keyed` has of a pending entry: see _keyed.lua."""

    mark: bytes
    key: bytes = b""
    position: bytes = b""


def parse_noted(stored: bytes) -> Noted:
    position, _, key = stored[1:].partition(b"\0")
    return Noted(stored[:1], key, position)


def plain_and_other(
    settled: Sequence[Completion],
) -> tuple[Sequence[Completion], Sequence[Completion]]:
    """Those of which complete.lua is told in few words, and the others."""
    plain: list[Completion] = []
    others: list[Completion] = []
    for one in settled:
        well = one.outcome is Outcome.PROCESSED and not one.emitted_events
        if well and (not plain or one.type == plain[0].type):
            plain.append(one)
        else:
            others.append(one)
    return plain, others


def parse_claimed(answer: Any, pairs: Sequence[str]) -> list[tuple[str, Verdict, int, int]]:
    if answer == b"all":
        return [(entry, Verdict.RUN, 1, 0) for entry in pairs]
    return [
        (entry.decode(), Verdict(verdict.decode()), int(attempt), int(lost))
        for entry, verdict, attempt, lost in zip(*[iter(answer)] * 4, strict=True)
    ]


def parse_entries(found: Any) -> dict[str, Entry]:
    """Entry id → the entry, of a raw answer of XRANGE."""
    if isinstance(found, Exception):
        raise found
    entries = (read_entry(entry, fields) for entry, fields in found)
    return {entry.id: entry for entry in entries}


def doubtful_entries(
    claimed: Sequence[tuple[str, Verdict, int, int]],
    there: Mapping[str, Entry],
    event_keys: Mapping[str, str],
    noted: Any,
) -> list[tuple[Entry, str]]:
    """Return the entries, with their event keys, that are to run and may repeat an event: those of
    foreign producers, and those of the time in the noted intervals."""
    intervals = parse_intervals(noted) if isinstance(noted, bytes) else []
    found = []
    for id, verdict, _, _ in claimed:
        entry = there.get(id)
        if entry is None or verdict is not Verdict.RUN:
            continue
        is_ambiguous = any(first <= entry.time_ms <= last for first, last in intervals)
        if entry.kind is EntryKind.FOREIGN or is_ambiguous:
            found.append((entry, event_keys[id]))
    return found


def parse_taken(answer: Any) -> FetchResult:
    if isinstance(answer, ResponseError) and "NOGROUP" in str(answer):
        return FetchResult(removed=True)
    if isinstance(answer, Exception):
        raise answer
    queued, next_due, mean, patterns, held, deliveries, now, own, at_end = answer
    return FetchResult(
        deliveries=tuple(
            Delivery(entry.decode(), body, int(attempts), int(lost), into.decode(), list_.decode())
            for entry, body, attempts, lost, into, list_ in deliveries
        ),
        queued=int(queued),
        next_due_ms=int(next_due) or None,
        now_ms=int(now),
        mean_us=int(mean),
        patterns=parse_patterns(patterns),
        in_flight=int(held),
        in_flight_here=int(own),
        is_at_end=bool(at_end),
    )


def parse_letter(domain: str, letter: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    return DeadLetter(
        id=letter.decode(),
        domain=domain,
        handler=text(b"handler"),
        entry=text(b"entry"),
        event_key=text(b"key"),
        attempts=whole(fields.get(b"attempts")),
        error=text(b"error"),
        traceback=text(b"traceback"),
        first_failed_ms=clamped_time(whole(fields.get(b"first_failed"))),
        last_failed_ms=clamped_time(whole(fields.get(b"last_failed"))),
        event=fields.get(b"event", b""),
    )


def whole(stored: bytes | None) -> int:
    """A whole number as it is stored; 0 for what is none."""
    try:
        return int(stored or b"0")
    except ValueError:
        return 0


def patterns_text(patterns: Iterable[str]) -> str:
    """As patterns are stored: sorted, so that the same ones are the same text."""
    return " ".join(sorted(set(patterns)))


def parse_patterns(stored: bytes) -> tuple[str, ...]:
    """Return the patterns in force; none where one of them is no pattern: then the handler's own
    count."""
    patterns = tuple(stored.decode(errors="replace").split())
    try:
        for pattern in patterns:
            check_pattern(pattern)
    except SubscriptionError:
        return ()
    return patterns
