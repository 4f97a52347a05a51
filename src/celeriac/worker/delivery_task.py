"""What a hint may say. It came from a broker that others may write to, and proves nothing.

It may name a domain and, of that, log entries with the keys of their events. All else is refused
before it becomes the name of a key in Redis or an argument of a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from celery.exceptions import InvalidTaskError

from celeriac.dispatcher import Chunk
from celeriac.event.attributes import MAX_LENGTH
from celeriac.event.identity import MAX_KEY_LENGTH
from celeriac.event_log import Entry, EntryKind
from celeriac.settings import MAX_DELIVERIES_PER_TASK

_DOMAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_LENGTH}}}", re.ASCII)
# A pair is a line, which costs JSON and pickle a tenth of what lists in a list do.
_PAIR = re.compile(rf"^(\d{{1,19}}-\d{{1,19}}) (.{{1,{MAX_KEY_LENGTH}}})$", re.ASCII | re.MULTILINE)
_CHUNK = re.compile(r"[0-9a-f]{16}", re.ASCII)
_DELIVERIES = frozenset({"domain", "events"})
_OPEN_CHUNK = frozenset({"domain", "chunk", "more"})
# Only what the worker's own dispatcher handed over counts as fetched.
_FETCHED = _OPEN_CHUNK | {"entries"}
_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")


def check_message(args: Any, kwargs: Any, embedded: Any, *, local: bool = False) -> None:
    """Raises InvalidTaskError for a message that is no hint's, its pairs not looked at.

    Of what Celery lets a message embed, nothing is taken: callbacks would have the worker send
    tasks of the writer's choice, under the worker's own name.
    """
    if args:
        raise InvalidTaskError("a hint has no positional arguments")
    if not isinstance(kwargs, dict) or not _is_named(kwargs.keys(), local):
        raise InvalidTaskError(
            "a hint has the arguments domain and events, or domain, chunk and more, and may have "
            "watched"
        )
    if embedded is not None and not isinstance(embedded, dict):
        raise InvalidTaskError("what a hint embeds is no mapping")
    if embedded and any(embedded.get(name) for name in _EMBEDDED):
        raise InvalidTaskError(f"a hint embeds none of {', '.join(_EMBEDDED)}")


def _is_named(names: Set[str], local: bool) -> bool:
    names = names - {"watched"}
    return names in (_DELIVERIES, _OPEN_CHUNK) or (local and names == _FETCHED)


def check_headers(headers: Mapping[str, Any]) -> None:
    """Raises InvalidTaskError for headers that name what runs next.

    Celery (5.5 to 5.7) makes the context of a task from its headers, and lets what is embedded in
    the body replace only the members that it has: a chain in a header runs as one in the body.
    """
    if any(headers.get(name) for name in (*_EMBEDDED, "group")):
        raise InvalidTaskError(f"the headers of a hint have none of {', '.join(_EMBEDDED)}, group")


def write_chunk(chunk: Chunk) -> dict[str, Any]:
    """The arguments of a delivery task, as JSON has them."""
    if not chunk.id:
        return {"domain": chunk.group.domain, "events": write_pairs(chunk.pairs)}
    named: dict[str, Any] = {"domain": chunk.group.domain, "chunk": chunk.id, "more": chunk.more}
    if chunk.entries is not None:
        named["entries"] = [
            [one.id, one.kind.value, None if one.body is None else one.body.decode()]
            for one in chunk.entries
        ]
    return named


def write_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """The events of a hint: for each its log entry, a blank, and its key, with newlines between."""
    return "\n".join([f"{entry} {key}" for entry, key in pairs])


def read_chunk(domain: Any, chunk: Any) -> str:
    """The id of an open chunk. Raises InvalidTaskError, which says what is wrong."""
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise InvalidTaskError("the domain of a hint is one segment of an event type")
    if not isinstance(chunk, str) or not _CHUNK.fullmatch(chunk):
        raise InvalidTaskError("a chunk is named by 16 hexadecimal digits")
    return chunk


def read_entries(entries: Sequence[Sequence[Any]]) -> list[Entry]:
    """The entries of a chunk, as `write_chunk` wrote them in this very worker."""
    return [
        Entry(id, None if body is None else body.encode(), EntryKind(kind))
        for id, kind, body in entries
    ]


def read_pairs(domain: Any, events: Any) -> list[tuple[str, str]]:
    """The (log entry, event key) pairs. Raises InvalidTaskError, which says what is wrong."""
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise InvalidTaskError("the domain of a hint is one segment of an event type")
    if not isinstance(events, str):
        raise InvalidTaskError("a hint names its events in a text")
    lines = events.count("\n") + 1
    if lines > MAX_DELIVERIES_PER_TASK:
        raise InvalidTaskError(f"a delivery task names at most {MAX_DELIVERIES_PER_TASK:,} events")
    pairs: list[tuple[str, str]] = _PAIR.findall(events)
    if len(pairs) != lines:
        raise InvalidTaskError("a hint names events by lines of a log entry and an event key")
    if len(dict(pairs)) != lines:
        raise InvalidTaskError("a hint names each log entry once")
    return pairs
