"""Flow control per key: which events share a key, and how many of a key may run.

Pure. `ordered=True` means one delivery at a time, in order, by subject.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

Keep = Literal["last", "first", "all"]

SUBJECT = "subject"
# Deliveries of one handler in one domain that are read and blocked by their key. Further events
# stay in the event log, where they cost nothing.
MAX_BLOCKED = 1000
# The same with `fair` or `debounce`, which only see events that were read.
MAX_BLOCKED_FAIR = 10_000
# Debounced events of a key in one list.
MAX_TOGETHER = 1000
# A longer key is stored as its digest.
MAX_KEY_BYTES = 120


class FlowControl(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a handler for the events of one key. None means no limit.

    `key` is `subject` (or `partitionkey` if the event has no subject), another attribute, or a path
    into the data such as `data.tenant`. `ordered` keeps the order of a key across retries.
    `per_second` is the rate of one key. `fair` schedules keys in turn, by their `weights` (1 by
    default). Debounced events of a key are delivered after `quiet_ms` without another event, and
    at most `max_quiet_ms` after the first; `keep` selects the events to deliver.
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
        """Return the weight of the key among the waiting keys."""
        return dict(self.weights).get(key, 1.0)


ORDERED = FlowControl(ordered=True, concurrency=1)


def key_of(event: Any, path: str) -> str:
    """Return the key of a decoded event; '' if the path leads to no text, number or boolean.

    Events without a key share the key ''. `key_of` in lua/_keyed.lua must return the same.
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
    """Return the key as stored: a value that is long or contains NUL is replaced by its SHA-1."""
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
