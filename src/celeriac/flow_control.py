"""Flow control per key: which events share a key, and how many of a key may run.

Pure. `ordered=True` is the case of one delivery at a time, in order, by subject.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

Keep = Literal["last", "first", "all"]

SUBJECT = "subject"
# Deliveries of one handler in one domain that are read and wait for their key. Further events are
# left in the log, where they cost nothing.
MAX_BLOCKED = 1000
# The same where keys take turns, or are debounced: both reach as far as what was read.
MAX_BLOCKED_FAIR = 10_000
# Events of a key that a handler is given in one list.
MAX_TOGETHER = 1000
# A longer key is stored as its digest.
MAX_KEY_BYTES = 120


class FlowControl(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler allows the events of one key. None stands for no limit.

    `key` is `subject` (or `partitionkey` where there is none), another attribute, or a path into
    the data such as `data.tenant`. `ordered` keeps the order of a key across retries. `per_second`
    is the rate of one key. `fair` lets keys take turns, by their `weights` (1 by default).
    A key is quiet for `quiet_ms` before its events are delivered, and they wait at most
    `max_quiet_ms`; `keep` says which of them are.
    """

    key: str = SUBJECT
    ordered: bool = False
    concurrency: int | None = None
    per_second: float | None = None
    fair: bool = False
    weights: tuple[tuple[str, float], ...] = ()
    quiet_ms: int = 0
    max_quiet_ms: int = 0
    keep: Keep = "last"

    @property
    def max_blocked(self) -> int:
        return MAX_BLOCKED_FAIR if self.fair or self.quiet_ms else MAX_BLOCKED

    def weight(self, key: str) -> float:
        """The share of the key among the keys that wait."""
        return dict(self.weights).get(key, 1.0)


ORDERED = FlowControl(ordered=True, concurrency=1)


def key_of(event: Any, path: str) -> str:
    """Return the key of a decoded event; '' where there is no text, number or boolean at the path.

    Events without a key share the key ''. The same as `key_of` in lua/_keyed.lua.
    """
    if not isinstance(event, dict):
        return ""
    if path == SUBJECT:
        value = event.get("subject")
        if not isinstance(value, str):
            value = event.get("partitionkey")
        return stored_key(value) if isinstance(value, str) else ""
    value = event
    for segment in path.split("."):
        if not isinstance(value, dict):
            return ""
        value = value.get(segment)
    return stored_key(value)


def stored_key(value: Any) -> str:
    """The value as it is stored: a long one, or one with a NUL, by its SHA-1."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int | float):
        text = f"{float(value):.17g}"
    elif isinstance(value, str):
        text = value
    else:
        return ""
    raw = text.encode(errors="surrogatepass")
    if len(raw) > MAX_KEY_BYTES or b"\0" in raw:
        return hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    return text
