"""Records in Redis that cannot be read: each is skipped, kept at hand, and logged once.

Several versions of several services write the keys that a bus shares, and so may a person or a
program that is broken. One bad record must not stop the processes that read the good ones.
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
MAX_KEPT = 20  # of one key; all are counted
MAX_LOGGED = 1000  # in one process
MAX_SHOWN = 100  # characters of a key, a field or a fault
MAX_TIME_MS = 253_402_300_799_999  # the end of the year 9999, the last that Python can show


class InvalidRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was skipped. `field` is empty where the whole key is wrong, `more` counts the
    records of the key that are not listed."""

    key: str
    field: str
    fault: str
    more: int = 0

    def __str__(self) -> str:
        where = f"{self.key} {self.field}" if self.field else self.key
        return f"{where}: {self.fault}"


class InvalidRecords:
    """What was skipped at the last reading of each key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, list[InvalidRecord]] = {}
        self._logged: set[InvalidRecord] = set()

    def __iter__(self) -> Any:
        with self._lock:
            return iter([one for key in sorted(self._found) for one in self._found[key]])

    def decode_all(
        self, key: str, stored: Mapping[bytes, bytes], decode: Callable[[str, bytes], T]
    ) -> dict[str, T]:
        """Return field → record for each field of a hash that `decode` accepts. `decode` raises
        ValueError or a msgspec error for the others."""
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
        # A key of another type was read as empty: see `answer`.
        if stored or not self._is_wrong_type(key):
            self.report(key, invalid)
        return records

    def report(self, key: str, invalid: Iterable[tuple[bytes, str]]) -> None:
        """Replace what is known of the key by these pairs of a field and its fault."""
        pairs = list(invalid)
        if not pairs and key not in self._found:
            return
        more = max(0, len(pairs) - MAX_KEPT)
        records = [
            InvalidRecord(key=shown(key), field=shown(field), fault=shown(fault), more=more)
            for field, fault in pairs[:MAX_KEPT]
        ]
        with self._lock:
            if records:
                self._found[key] = records
            else:
                self._found.pop(key, None)
            new = [one for one in records if one not in self._logged]
            new = new[: max(0, MAX_LOGGED - len(self._logged))]
            self._logged.update(new)
        for one in new:
            logger.warning(
                "celeriac: a record is skipped: %s (%d more in this key). `celeriac doctor` lists "
                "such records and how to remove them",
                one,
                one.more,
            )

    def unless_wrong_type(self, key: str, call: Callable[[], Any], empty: Any) -> Any:
        """Return what the command returns, or `empty` where the key holds another type."""
        try:
            found = call()
        except ResponseError as error:
            return self.answer(key, error, empty)
        self._clear_wrong_type(key)
        return found

    def answer(self, key: str, answer: Any, empty: Any) -> Any:
        """Return the answer of one of many commands, or `empty` where the key holds another type.
        Raises an answer that is another error."""
        if isinstance(answer, Exception):
            if not is_wrong_type(answer):
                raise answer
            self.report(key, [(b"", "holds another type of Redis value than celeriac writes")])
            return empty
        self._clear_wrong_type(key)
        return answer

    def _clear_wrong_type(self, key: str) -> None:
        if self._is_wrong_type(key):
            self.report(key, ())

    def _is_wrong_type(self, key: str) -> bool:
        found = self._found.get(key)
        return found is not None and not found[0].field

    def inspect(self, client: Any, expected: Mapping[str, str]) -> None:
        """Report the keys that hold another type than these. Blocks for one round trip."""
        answers = client.execute_many([("TYPE", key) for key in expected])
        for (key, wanted), answer in zip(expected.items(), answers, strict=True):
            if isinstance(answer, Exception):
                continue  # an ACL may forbid TYPE
            held = answer.decode()
            if held in (wanted, "none"):
                self._clear_wrong_type(key)
            else:
                self.report(key, [(b"", f"holds a {held} and must be a {wanted}")])


def is_wrong_type(error: BaseException) -> bool:
    """Whether a command met a key of another type, also within a script."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def shown(text: str | bytes) -> str:
    """Return the text in one short line that is safe on a terminal and in a log."""
    if isinstance(text, bytes):
        text = text[: 4 * MAX_SHOWN].decode(errors="backslashreplace")
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: MAX_SHOWN + 1])
    return plain if len(plain) <= MAX_SHOWN else f"{plain[: MAX_SHOWN - 1]}…"


def check_time(name: str, ms: int | None) -> None:
    """Raise ValueError for a time that is no time in ms since the epoch."""
    if ms is not None and not 0 <= ms <= MAX_TIME_MS:
        raise ValueError(f"`{name}` is no time in ms: {ms}")


def clamped_time(ms: float) -> int:
    """Return the time in ms, or the nearest that a calendar has."""
    return int(max(0, min(ms, MAX_TIME_MS)))
