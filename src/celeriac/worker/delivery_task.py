"""The format of a delivery task. It comes from a broker that others can write to: do not trust it.

It may name a domain and log entries of it with the keys of their events. Anything else is refused
before it becomes part of a Redis key or an argument of a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any

from celery.exceptions import InvalidTaskError

from celeriac.dispatcher import Chunk
from celeriac.event.attributes import MAX_LENGTH
from celeriac.event.identity import MAX_KEY_LENGTH
from celeriac.event_log import Entry, EntryKind
from celeriac.settings import MAX_DELIVERIES_PER_TASK

_DOMAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_LENGTH}}}", re.ASCII)
# A pair is a line: a tenth of the cost of nested lists in JSON and pickle.
_PAIR = re.compile(rf"^(\d{{1,19}}-\d{{1,19}}) (.{{1,{MAX_KEY_LENGTH}}})$", re.ASCII | re.MULTILINE)
_CHUNK = re.compile(r"[0-9a-f]{16}", re.ASCII)
_DELIVERIES = frozenset({"domain", "events"})
_OPEN_CHUNK = frozenset({"domain", "chunk", "more"})
# Accepted only from the worker's own dispatcher, in direct delivery.
_FETCHED = _OPEN_CHUNK | {"entries"}
_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")


def check_message(args: Any, kwargs: Any, embedded: Any, *, is_direct: bool = False) -> None:
    """Raise InvalidTaskError for a message that is not a delivery task. Does not check its pairs.

    Embedded callbacks are refused: the worker would send tasks of the writer's choice with its own
    access rights.
    """
    if args:
        raise InvalidTaskError("a delivery task has no positional arguments")
    if not isinstance(kwargs, dict) or not _is_named(kwargs.keys(), is_direct):
        raise InvalidTaskError(
            "a delivery task has the arguments domain and events, or domain, chunk and more, and "
            "may have watched"
        )
    if embedded is not None and not isinstance(embedded, dict):
        raise InvalidTaskError("the embedded part of a delivery task is not a mapping")
    if embedded and any(embedded.get(name) for name in _EMBEDDED):
        raise InvalidTaskError(f"a delivery task embeds none of {', '.join(_EMBEDDED)}")


def _is_named(names: Set[str], is_direct: bool) -> bool:
    names = names - {"watched"}
    return names in (_DELIVERIES, _OPEN_CHUNK) or (is_direct and names == _FETCHED)


def check_headers(headers: Mapping[str, Any]) -> None:
    """Raise InvalidTaskError for headers that name a task to run next.

    Celery (5.5 to 5.7) builds the context of a task from its headers, and the embedded part of the
    body replaces only the members that it has. A chain in a header would run like one in the body.
    """
    if any(headers.get(name) for name in (*_EMBEDDED, "group")):
        raise InvalidTaskError(
            f"the headers of a delivery task have none of {', '.join(_EMBEDDED)}, group"
        )


def write_chunk(chunk: Chunk) -> dict[str, Any]:
    """Return the arguments of a delivery task, as JSON types."""
    if not chunk.id:
        return {"domain": chunk.group.domain, "events": write_pairs(chunk.pairs)}
    named: dict[str, Any] = {"domain": chunk.group.domain, "chunk": chunk.id, "more": chunk.more}
    if chunk.entries is not None:
        # A body that is not UTF-8, from another program, cannot be written: the process then reads
        # the chunk from the log.
        with suppress(UnicodeDecodeError):
            named["entries"] = [
                [entry.id, entry.kind.value, None if entry.body is None else entry.body.decode()]
                for entry in chunk.entries
            ]
    return named


def write_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """Return one line for each event: its log entry, a space, and its event key."""
    return "\n".join([f"{entry} {key}" for entry, key in pairs])


def read_chunk(domain: Any, chunk: Any) -> str:
    """Return the id of an open chunk. Raises InvalidTaskError with the reason."""
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise InvalidTaskError("the domain of a delivery task is one segment of an event type")
    if not isinstance(chunk, str) or not _CHUNK.fullmatch(chunk):
        raise InvalidTaskError("the id of a chunk is 16 hexadecimal digits")
    return chunk


def read_entries(entries: Sequence[Sequence[Any]]) -> list[Entry]:
    """Return the entries of a chunk, which `write_chunk` wrote in this worker."""
    return [
        Entry(id, None if body is None else body.encode(), EntryKind(kind))
        for id, kind, body in entries
    ]


def read_pairs(domain: Any, events: Any) -> list[tuple[str, str]]:
    """Return the (log entry, event key) pairs. Raises InvalidTaskError with the reason."""
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise InvalidTaskError("the domain of a delivery task is one segment of an event type")
    if not isinstance(events, str):
        raise InvalidTaskError("the events of a delivery task are one string")
    lines = events.count("\n") + 1
    if lines > MAX_DELIVERIES_PER_TASK:
        raise InvalidTaskError(f"a delivery task names at most {MAX_DELIVERIES_PER_TASK:,} events")
    pairs: list[tuple[str, str]] = _PAIR.findall(events)
    if len(pairs) != lines:
        raise InvalidTaskError(
            "each line of a delivery task's events is a log entry, a space and an event key"
        )
    if len(dict(pairs)) != lines:
        raise InvalidTaskError("a delivery task names each log entry once")
    return pairs
