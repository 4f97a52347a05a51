"""Finding run records, which are intervals of the log in a sorted set by their last millisecond."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celeriac.delivery.run_record import Run, RunOutcome, pack_runs, run_code
from celeriac.event_log import entry_key, entry_time_ms
from celeriac.invalid_record import InvalidRecords
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client, service_client
from celeriac.store.redis.run_records import find_runs, inspect_runs

Write = Callable[..., None]
UNREAD = (RunOutcome.PROCESSED, 0, "", 0)


@pytest.fixture
def client(settings: Settings) -> Client:
    return service_client(settings)


@pytest.fixture
def invalid() -> InvalidRecords:
    return InvalidRecords()


@pytest.fixture
def write(client: Client, namespace: str) -> Write:
    """Write records as (after, upto, entry); the run of each entry takes 7 µs."""

    def write(*records: tuple[str, str, str]) -> None:
        for after, upto, entry in records:
            code = run_code(RunOutcome.PROCESSED, 7)
            frame = pack_runs("w1", entry_time_ms(upto), [entry], [code], upto)
            member = f"{after} {upto} w1\n".encode() + frame
            client.zadd(namespace, {member: entry_time_ms(upto)})

    return write


def parts(run: Run) -> tuple[RunOutcome, int, str, int]:
    return run.outcome, run.took_us, run.worker, run.at_ms


def faults(invalid: InvalidRecords) -> dict[str, str]:
    return {record.field: record.fault for record in invalid}


def test_each_of_many_records_of_one_millisecond_is_found(
    client: Client, namespace: str, invalid: InvalidRecords, write: Write
) -> None:
    """No first reply has all of them."""
    write(*((f"5-{n - 1}", f"5-{n}", f"5-{n}") for n in range(1, 60)))
    entries = [f"5-{n}" for n in range(1, 60)]
    runs = find_runs(client, namespace, invalid, ["4-0", *entries, "6-0"])
    assert entries == sorted(runs, key=entry_key)
    assert {(RunOutcome.PROCESSED, 7, "w1", 5)} == {parts(run) for run in runs.values()}


def test_a_record_of_the_same_millisecond_does_not_end_the_search(
    client: Client, namespace: str, invalid: InvalidRecords, write: Write
) -> None:
    """Redis sorts records of one millisecond as text: the one with the entry is the third."""
    write(("8-0", "9-1", "9-0"), ("9-1", "10-5", "9-5"), ("10-5", "10-9", "10-9"))
    starts = [member.split()[0] for member in client.zrange(namespace, 0, -1)]
    assert [b"8-0", b"10-5", b"9-1"] == starts
    assert ["9-5"] == list(find_runs(client, namespace, invalid, ["9-5"]))


def test_entries_between_records_have_no_run(
    client: Client, namespace: str, invalid: InvalidRecords, write: Write
) -> None:
    write(("2-0", "3-0", "2-5"), ("3-0", "3-9", "3-1"), ("5-0", "6-0", "6-0"))
    sought = ["2-0", "1-0", "2-5", "3-0", "3-1", "3-9", "4-0", "5-5", "6-0", "6-1", "9-0"]
    assert {"2-5", "3-1", "6-0"} == set(find_runs(client, namespace, invalid, sought))
    assert {} == find_runs(client, namespace, invalid, [])
    assert {} == find_runs(client, f"{namespace}:none", invalid, sought)


BROKEN = b"5-0 5-9 w1\n\x00"


@pytest.mark.parametrize(
    ("member", "found"),
    [
        pytest.param(b"not a record", {"4-5": UNREAD, "5-5": UNREAD}, id="no record"),
        pytest.param(BROKEN, {"5-5": UNREAD}, id="a broken frame"),
    ],
)
def test_an_entry_that_an_invalid_record_may_have_was_processed(
    client: Client, namespace: str, invalid: InvalidRecords, member: bytes, found: dict[str, object]
) -> None:
    client.zadd(namespace, {member: 5})
    runs = find_runs(client, namespace, invalid, ["4-5", "5-5", "6-5"])
    assert found == {entry: parts(run) for entry, run in runs.items()}
    assert list(found) == [run.entry for run in runs.values()]
    assert ["score 5"] == list(faults(invalid))
    client.delete(namespace)
    find_runs(client, namespace, invalid, ["5-5"])
    assert {} == faults(invalid)


def test_runs_in_a_key_of_another_type_were_processed(
    client: Client, namespace: str, invalid: InvalidRecords
) -> None:
    client.set(namespace, "x")
    runs = find_runs(client, namespace, invalid, ["4-5", "5-5"])
    assert {"4-5": UNREAD, "5-5": UNREAD} == {entry: parts(run) for entry, run in runs.items()}
    assert [namespace] == [record.key for record in invalid]


def test_invalid_ones_among_the_newest_records_are_reported(
    client: Client, namespace: str, invalid: InvalidRecords, write: Write
) -> None:
    client.zadd(namespace, {b"oldest": 1, b"old": 2, BROKEN: 5, b"new": 7})
    write(*((f"8-{n}", f"8-{n + 1}", f"8-{n + 1}") for n in range(98)))
    other = f"{namespace}:other"
    client.set(other, "x")
    inspect_runs(client, [namespace, other], invalid)
    assert ["", "score 5", "score 7"] == sorted(faults(invalid))
    assert "begin with two entry ids" in faults(invalid)["score 7"]
    client.delete(namespace, other)
    inspect_runs(client, [namespace, other], invalid)
    assert {} == faults(invalid)
