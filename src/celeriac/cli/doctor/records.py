"""Check whether every stored record can be read."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok
from celeriac.invalid_record import InvalidRecord

# Last part of the key → the command that removes one record.
_REMOVALS = {"domains": "SREM", "delayed": "ZREM"}
_AGAIN = "running workers write their own again within 5 s"


def check_records(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Report the records that readers skipped, by key and field."""
    for record in snapshot.invalid:
        text = f"{record} (skipped{_more(record)})"
        yield fail("record", text, _remedy(record))
    if not snapshot.invalid:
        yield ok("record", "every stored record that was read is valid")


def _more(record: InvalidRecord) -> str:
    return f", with {record.more:,} more of this key" if record.more else ""


def _remedy(record: InvalidRecord) -> str:
    if not record.field:
        return f"redis-cli RENAME {record.key} {record.key}.invalid, then inspect it; {_AGAIN}"
    if ":runs:" in record.key:
        score = record.field.removeprefix("score ")
        return f"redis-cli ZREMRANGEBYSCORE {record.key} {score} {score}"
    remove = _REMOVALS.get(record.key.rpartition(":")[2], "HDEL")
    return f"unless a newer version wrote it: redis-cli {remove} {record.key} FIELD; {_AGAIN}"
