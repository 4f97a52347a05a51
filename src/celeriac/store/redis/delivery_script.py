"""The arguments and replies of the delivery store's scripts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from celeriac.delivery.dead_letter import DeadLetter
from celeriac.delivery.delivery import Completion, Delivery, FetchResult
from celeriac.delivery.state import ClaimResult, Outcome
from celeriac.errors import SubscriptionError
from celeriac.event import EmittedEvent, EmittedEvents
from celeriac.event.pattern import check_pattern
from celeriac.event_log import Entry, EntryKind, read_entry
from celeriac.event_log.registered import parse_intervals
from celeriac.flow_control import FlowControl
from celeriac.invalid_record import clamped_time
from celeriac.tenant import is_tenant_mark


def format_emitted_events(emitted_events: EmittedEvents) -> str:
    """Return a line for each named event, and `+N` for N more."""
    lines = [f"{event.type} {event.key}" for event in emitted_events.named]
    if emitted_events.unnamed:
        lines.append(f"+{emitted_events.unnamed}")
    return "\n".join(lines)


def parse_emitted_events(stored: bytes | None) -> EmittedEvents:
    lines = stored.decode(errors="replace").split("\n") if stored else []
    unnamed = lines.pop()[1:] if lines and lines[-1].startswith("+") else ""
    pairs = (line.partition(" ") for line in lines)
    named = tuple(EmittedEvent(type, key) for type, _, key in pairs if key)
    return EmittedEvents(named, int(unnamed) if unnamed.isdecimal() else 0)


_encode = msgspec.msgpack.Encoder().encode


def pack_lists(lists: Iterable[Sequence[Any]]) -> bytes:
    """Pack lists into one argument, which the script's `cmsgpack.unpack` returns one by one."""
    return b"".join(map(_encode, lists))


def pack_plain(completions: Sequence[Completion]) -> bytes:
    """Return the four lists of processed deliveries that complete.lua expects."""
    return pack_lists(
        (
            [completion.entry for completion in completions],
            [completion.event_key for completion in completions],
            [completion.attempt for completion in completions],
            [completion.took_us for completion in completions],
        )
    )


@lru_cache(maxsize=256)
def pack_flow(flow_control: FlowControl | None) -> bytes:
    """Return the limits of a handler's keys, as _keyed.lua reads them."""
    if flow_control is None:
        return b""
    return _encode(
        {
            "key": flow_control.key,
            "ordered": flow_control.ordered,
            "concurrency": flow_control.concurrency or 0,
            "per_second": flow_control.per_second or 0.0,
            "fair": flow_control.fair,
            "weights": dict(flow_control.weights),
            "quiet_ms": flow_control.quiet_ms,
            "max_quiet_ms": flow_control.max_quiet_ms,
            "keep": flow_control.keep,
        }
    )


@dataclass(frozen=True, slots=True)
class Noted:
    """The value of a pending entry in `keyed`: see _keyed.lua."""

    mark: bytes
    key: bytes = b""
    position: bytes = b""


def parse_noted(stored: bytes) -> Noted:
    position, _, key = stored[1:].partition(b"\0")
    return Noted(stored[:1], key, position)


def plain_and_other(
    completions: Sequence[Completion],
) -> tuple[Sequence[Completion], Sequence[Completion]]:
    """Split completions into processed ones of one type, which complete.lua reads as lists, and the
    others."""
    plain: list[Completion] = []
    others: list[Completion] = []
    for completion in completions:
        is_plain = completion.outcome is Outcome.PROCESSED and not completion.emitted_events
        if is_plain and (not plain or completion.type == plain[0].type):
            plain.append(completion)
        else:
            others.append(completion)
    return plain, others


def parse_claimed(answer: Any, pairs: Sequence[str]) -> list[tuple[str, ClaimResult, int, int]]:
    if answer == b"all":
        return [(entry, ClaimResult.RUN, 1, 0) for entry in pairs]
    return [
        (entry.decode(), ClaimResult(result.decode()), int(attempt), int(lost))
        for entry, result, attempt, lost in zip(*[iter(answer)] * 4, strict=True)
    ]


def parse_entries(answer: Any) -> dict[str, Entry]:
    """Return entry id → the entry, from a raw reply of XRANGE."""
    if isinstance(answer, Exception):
        raise answer
    entries = (read_entry(entry, fields) for entry, fields in answer)
    return {entry.id: entry for entry in entries}


def doubtful_entries(
    claimed: Sequence[tuple[str, ClaimResult, int, int]],
    log_entries: Mapping[str, Entry],
    event_keys: Mapping[str, str],
    noted: Any,
) -> list[tuple[Entry, str]]:
    """Return the entries, with their event keys, that will run and may repeat an event.

    These are entries of foreign producers, and entries whose time is in the noted intervals.
    """
    intervals = parse_intervals(noted) if isinstance(noted, bytes) else []
    doubtful = []
    for id, result, _, _ in claimed:
        entry = log_entries.get(id)
        if entry is None or result is not ClaimResult.RUN:
            continue
        is_ambiguous = any(first <= entry.time_ms <= last for first, last in intervals)
        if entry.kind is EntryKind.FOREIGN or is_ambiguous:
            doubtful.append((entry, event_keys[id]))
    return doubtful


def parse_fetched(answer: Any) -> FetchResult:
    if isinstance(answer, ResponseError) and "NOGROUP" in str(answer):
        return FetchResult(removed=True)
    if isinstance(answer, Exception):
        raise answer
    queued, next_due, mean, patterns, in_flight, deliveries, now, in_flight_here, at_end = answer
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
        in_flight=int(in_flight),
        in_flight_here=int(in_flight_here),
        is_at_end=bool(at_end),
    )


def parse_dead_letter(domain: str, id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    return DeadLetter(
        id=id.decode(),
        domain=domain,
        handler=text(b"handler"),
        entry=text(b"entry"),
        event_key=text(b"key"),
        attempts=parse_int(fields.get(b"attempts")),
        error=text(b"error"),
        traceback=text(b"traceback"),
        first_failed_ms=clamped_time(parse_int(fields.get(b"first_failed"))),
        last_failed_ms=clamped_time(parse_int(fields.get(b"last_failed"))),
        event=fields.get(b"event", b""),
    )


def parse_int(stored: bytes | None) -> int:
    """Return a stored integer; 0 if it is invalid."""
    try:
        return int(stored or b"0")
    except ValueError:
        return 0


def patterns_text(patterns: Iterable[str]) -> str:
    """Return patterns as they are stored: sorted, so that equal sets have equal texts."""
    return " ".join(sorted(set(patterns)))


def parse_patterns(stored: bytes) -> tuple[str, ...]:
    """Return the patterns in force; none if one of them is invalid: then the handler's own
    apply."""
    patterns = tuple(stored.decode(errors="replace").split())
    try:
        for pattern in patterns:
            if not is_tenant_mark(pattern):
                check_pattern(pattern)
    except SubscriptionError:
        return ()
    return patterns
