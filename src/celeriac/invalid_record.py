"""Records in Redis that cannot be read: each is skipped, kept for reports, and logged once.

Several versions of several services write the keys of a bus; so may an operator or a faulty
program. One invalid record must not stop the processes that read the valid ones.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from redis.exceptions import ResponseError

logger = logging.getLogger(__name__)
T = TypeVar("T")

MAX_RECORD_BYTES = 1_000_000
MAX_KEPT = 20  # for one key; all are counted
MAX_LOGGED = 1000  # in one process
MAX_SHOWN = 100  # characters of a key, a field or a fault
MAX_TIME_MS = 253_402_300_799_999  # the end of the year 9999, the last that Python can show


class InvalidRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was skipped.

    `field` is empty if the key itself is invalid. `more` counts further invalid records of the key.
    """

    key: str
    field: str
    fault: str
    more: int = 0

    def __str__(self) -> str:
        where = f"{self.key} {self.field}" if self.field else self.key
        return f"{where}: {self.fault}"


class InvalidRecords:
    """The records that were skipped at the last read of each key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._invalid: dict[str, list[InvalidRecord]] = {}
        self._logged: set[InvalidRecord] = set()

    def __iter__(self) -> Any:
        with self._lock:
            return iter([record for key in sorted(self._invalid) for record in self._invalid[key]])

    def decode_all(
        self, key: str, stored: Mapping[bytes, bytes], decode: Callable[[str, bytes], T]
    ) -> dict[str, T]:
        """Return field → record for each field of a hash that `decode` accepts, report the others.

        `decode` raises ValueError or a msgspec error for an invalid record.
        """
        records: dict[str, T] = {}
        invalid: list[tuple[bytes, str]] = []
        for field, value in sorted(stored.items()):
            try:
                if len(value) > MAX_RECORD_BYTES:
                    raise ValueError(f"is {len(value):,} bytes long")
                name = field.decode()
                records[name] = decode(name, value)
            except (ValueError, msgspec.MsgspecError, RecursionError) as error:
                invalid.append((field, str(error) or type(error).__name__))
        # `answer` returns an empty value for a key of another type.
        if stored or not self._is_wrong_type(key):
            self.report(key, invalid)
        return records

    def report(self, key: str, invalid: Iterable[tuple[bytes, str]]) -> None:
        """Replace the invalid records of the key by these (field, fault) pairs; log new ones."""
        pairs = list(invalid)
        if not pairs and key not in self._invalid:
            return
        more = max(0, len(pairs) - MAX_KEPT)
        records = [
            InvalidRecord(key=shown(key), field=shown(field), fault=shown(fault), more=more)
            for field, fault in pairs[:MAX_KEPT]
        ]
        with self._lock:
            if records:
                self._invalid[key] = records
            else:
                self._invalid.pop(key, None)
            new = [record for record in records if record not in self._logged]
            new = new[: max(0, MAX_LOGGED - len(self._logged))]
            self._logged.update(new)
        for record in new:
            logger.warning(
                "celeriac: skipped an invalid record: %s (%d more in this key). Run `celeriac "
                "doctor` to list invalid records and how to remove them",
                record,
                record.more,
            )

    def unless_wrong_type(self, key: str, call: Callable[[], Any], empty: Any) -> Any:
        """Return the result of the command, or `empty` if the key has another type."""
        try:
            result = call()
        except ResponseError as error:
            return self.answer(key, error, empty)
        self._clear_wrong_type(key)
        return result

    def answer(self, key: str, reply: Any, empty: Any) -> Any:
        """Return the reply of one pipelined command, or `empty` if the key has another type.

        Raises any other error that the reply is.
        """
        if isinstance(reply, Exception):
            if not is_wrong_type(reply):
                raise reply
            self.report(key, [(b"", "has another Redis type than celeriac writes")])
            return empty
        self._clear_wrong_type(key)
        return reply

    def _clear_wrong_type(self, key: str) -> None:
        if self._is_wrong_type(key):
            self.report(key, ())

    def _is_wrong_type(self, key: str) -> bool:
        records = self._invalid.get(key)
        return records is not None and not records[0].field

    def inspect(self, client: Any, expected: Mapping[str, str]) -> None:
        """Report the keys whose Redis type differs from `expected`. Blocks for one round trip."""
        replies = client.execute_many([("TYPE", key) for key in expected])
        for (key, expected_type), reply in zip(expected.items(), replies, strict=True):
            if isinstance(reply, Exception):
                continue  # an ACL may forbid TYPE
            actual_type = reply.decode()
            if actual_type in (expected_type, "none"):
                self._clear_wrong_type(key)
            else:
                self.report(key, [(b"", f"is a {actual_type} and must be a {expected_type}")])


def is_wrong_type(error: BaseException) -> bool:
    """Return whether a command, or a command in a script, found a key of another type."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def shown(text: str | bytes) -> str:
    """Return the text as one short line that is safe for terminals and logs."""
    if isinstance(text, bytes):
        text = text[: 4 * MAX_SHOWN].decode(errors="backslashreplace")
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: MAX_SHOWN + 1])
    return plain if len(plain) <= MAX_SHOWN else f"{plain[: MAX_SHOWN - 1]}…"


def check_time(name: str, ms: int | None) -> None:
    """Raise ValueError for a number that is not a valid time in ms since the epoch."""
    if ms is not None and not 0 <= ms <= MAX_TIME_MS:
        raise ValueError(f"`{name}` is not a time in ms since the epoch: {ms}")


def clamped_time(ms: float) -> int:
    """Return the time in ms, limited to the years that `datetime` supports."""
    return int(max(0, min(ms, MAX_TIME_MS)))
