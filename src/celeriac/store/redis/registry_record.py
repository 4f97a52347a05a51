"""Reading the registry's records. They may be of another version, or of anybody.

Fields that this version does not know are ignored. A record is refused that would harm its readers:
a name that is no handler's, a pattern that does not compile, a time that no calendar has.
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
        raise ValueError(f"is a handler of the service {record.service}, and is not named so")
    if not record.queue or not record.queue.isprintable():
        raise ValueError("`queue` is no name")
    for domain, entry in record.since.items():
        check_domain_name(domain)
        if not _is_entry(entry):
            raise ValueError(f"`since` of {domain} is no entry of a log: {entry}")
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
        raise ValueError("`name` or `service` holds control characters")
    check_time("beat_ms", record.beat_ms)
    check_time("clock_ms", record.clock_ms)
    if record.beat_ms > now_ms + FORGET_WORKER_AFTER_MS:
        raise ValueError(f"`beat_ms` lies in the future: {record.beat_ms}")
    if not 0 <= record.pid < 2**32:
        raise ValueError(f"`pid` is no number of a process: {record.pid}")
    if not 0 <= record.processes <= MAX_PROCESSES:
        raise ValueError(f"`processes` is no number of processes: {record.processes}")
    return record


def _is_entry(text: str) -> bool:
    parts = text.split("-")
    return len(parts) == 2 and all(
        part.isascii() and part.isdigit() and len(part) <= 20 and int(part) < MAX_ENTRY_ID
        for part in parts
    )
