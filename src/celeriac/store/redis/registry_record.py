"""Read the registry's records. Another version, or any program, may have written them.

Unknown fields are ignored. A record that would harm its readers is refused: an invalid handler
name, a pattern that does not compile, an impossible time.
"""

from __future__ import annotations

import msgspec

from celeriac.errors import InvalidEvent, SubscriptionError
from celeriac.event import compile_patterns
from celeriac.event.attributes import check_domain_name, check_handler
from celeriac.invalid_record import check_time
from celeriac.registry.registry import FORGET_WORKER_AFTER_MS, HandlerRecord, WorkerRecord

MAX_PROCESSES = 1_000_000
MAX_ENTRY_ID = 2**64

_decode_handler = msgspec.json.Decoder(HandlerRecord).decode
_decode_worker = msgspec.json.Decoder(WorkerRecord).decode


def decode_handler(name: str, value: bytes) -> HandlerRecord:
    """Return the record of the handler. Raises ValueError or msgspec.MsgspecError."""
    record = _decode_handler(value)
    if record.id != name:
        raise ValueError(f"is the record of another handler, {record.id}")
    try:
        check_handler(record.id)
        compile_patterns(*record.patterns)
    except (InvalidEvent, SubscriptionError) as error:
        raise ValueError(str(error)) from None
    if not record.id.startswith(f"{record.service}."):
        raise ValueError(f"does not begin with the name of its service, {record.service}")
    if not record.queue or not record.queue.isprintable():
        raise ValueError("`queue` is not a valid name")
    for domain, entry in record.since.items():
        check_domain_name(domain)
        if not _is_entry(entry):
            raise ValueError(f"`since` of {domain} is not an entry id: {entry}")
    for name in ("added", "leaving", "retired"):
        for at_ms in getattr(record, name).values():
            check_time(name, at_ms)
    check_time("registered_ms", record.registered_ms)
    return record


def decode_worker(name: str, value: bytes, now_ms: int) -> WorkerRecord:
    """Return the record of the worker. Raises ValueError or msgspec.MsgspecError."""
    record = _decode_worker(value)
    if record.name != name:
        raise ValueError(f"is the record of another worker, {record.name}")
    if not name.isprintable() or not record.service.isprintable():
        raise ValueError("`name` or `service` has control characters")
    check_time("beat_ms", record.beat_ms)
    check_time("clock_ms", record.clock_ms)
    if record.beat_ms > now_ms + FORGET_WORKER_AFTER_MS:
        raise ValueError(f"`beat_ms` is in the future: {record.beat_ms}")
    if not 0 <= record.pid < 2**32:
        raise ValueError(f"`pid` is not a process id: {record.pid}")
    if not 0 <= record.processes <= MAX_PROCESSES:
        raise ValueError(f"`processes` is not a number of processes: {record.processes}")
    return record


def _is_entry(text: str) -> bool:
    parts = text.split("-")
    return len(parts) == 2 and all(
        part.isascii() and part.isdigit() and len(part) <= 20 and int(part) < MAX_ENTRY_ID
        for part in parts
    )
