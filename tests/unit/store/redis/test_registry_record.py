"""Records of other versions and of any program: which are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.registry.registry import FORGET_WORKER_AFTER_MS
from celeriac.store.redis.registry_record import MAX_PROCESSES, decode_handler, decode_worker

HANDLER = HandlerRecord(id="b.c", service="b", patterns=("order.#",), queue="b")
WORKER = WorkerRecord(
    name="b@h", service="b", hostname="h", pid=1, pool="solo", processes=1, queues=("b",),
    handlers=("b.c",), version="0",
)  # fmt: skip
NOW = 1_000_000


def handler(**changed: Any) -> HandlerRecord:
    record = msgspec.structs.replace(HANDLER, **changed)
    read = decode_handler("b.c", msgspec.json.encode(record))
    assert record == read
    return read


def worker(**changed: Any) -> WorkerRecord:
    record = msgspec.structs.replace(WORKER, **changed)
    read = decode_worker("b@h", msgspec.json.encode(record), NOW)
    assert record == read
    return read


@pytest.mark.parametrize("entry", ["0-0", "1-0", f"{2**64 - 1}-{2**64 - 1}"])
def test_an_entry_id_of_redis_is_read(entry: str) -> None:
    handler(since={"order": entry})


@pytest.mark.parametrize(
    "entry", ["", "1", "1-0-0", "a-0", "1-", "-1-0", f"{2**64}-0", f"0-{2**64}", "٣-0", "1" * 21]
)
def test_another_text_is_no_entry_id(entry: str) -> None:
    with pytest.raises(ValueError, match="`since` of order is not an entry id"):
        handler(since={"order": entry})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "b.d"}, "the record of another handler, b.d"),
        ({"service": "other"}, "does not begin with the name of its service, other"),
        ({"queue": ""}, "`queue` is not a valid name"),
        ({"queue": "a\nb"}, "`queue` is not a valid name"),
        ({"added": {"order.#": -1}}, "added"),
        ({"registered_ms": -1}, "registered_ms"),
    ],
)
def test_a_handler_that_would_harm_its_readers_is_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        handler(**changed)


@pytest.mark.parametrize(
    "accepted",
    [
        {"pid": 0},
        {"pid": 2**32 - 1},
        {"processes": 0},
        {"processes": MAX_PROCESSES},
        {"beat_ms": NOW + FORGET_WORKER_AFTER_MS},
    ],
)
def test_a_worker_within_the_limits_is_read(accepted: dict[str, Any]) -> None:
    worker(**accepted)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "b@other"}, "the record of another worker, b@other"),
        ({"service": "a\nb"}, "control characters"),
        ({"pid": -1}, "`pid` is not a process id"),
        ({"pid": 2**32}, "`pid` is not a process id"),
        ({"processes": -1}, "`processes` is not a number of processes"),
        ({"processes": MAX_PROCESSES + 1}, "`processes` is not a number of processes"),
        ({"beat_ms": NOW + FORGET_WORKER_AFTER_MS + 1}, "`beat_ms` is in the future"),
        ({"clock_ms": -1}, "clock_ms"),
    ],
)
def test_a_worker_that_would_harm_its_readers_is_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        worker(**changed)
