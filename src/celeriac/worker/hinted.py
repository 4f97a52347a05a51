"""What a hint may say. It came from a broker that others may write to, and proves nothing.

It may name a domain and, of that, log entries with the keys of their events. All else is refused
before it becomes the name of a key in Redis or an argument of a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from celery.exceptions import InvalidTaskError

from celeriac.event.attributes import MAX_LENGTH
from celeriac.event.identity import MAX_KEY_LENGTH
from celeriac.settings import MOST_IN_A_HINT

_DOMAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_LENGTH}}}", re.ASCII)
# A pair is a line, which costs JSON and pickle a tenth of what lists in a list do.
_PAIR = re.compile(rf"^(\d{{1,19}}-\d{{1,19}}) (.{{1,{MAX_KEY_LENGTH}}})$", re.ASCII | re.MULTILINE)
_MEMBERS = frozenset({"domain", "events", "watched"})
_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")


def check_message(args: Any, kwargs: Any, embedded: Any) -> None:
    """Raises InvalidTaskError for a message that is no hint's, its pairs not looked at.

    Of what Celery lets a message embed, nothing is taken: callbacks would have the worker send
    tasks of the writer's choice, under the worker's own name.
    """
    if args:
        raise InvalidTaskError("a hint has no positional arguments")
    if not isinstance(kwargs, dict) or not {"domain", "events"} <= kwargs.keys() <= _MEMBERS:
        raise InvalidTaskError("a hint has the arguments domain and events, and may have watched")
    if embedded is not None and not isinstance(embedded, dict):
        raise InvalidTaskError("what a hint embeds is no mapping")
    if embedded and any(embedded.get(name) for name in _EMBEDDED):
        raise InvalidTaskError(f"a hint embeds none of {', '.join(_EMBEDDED)}")


def check_headers(headers: Mapping[str, Any]) -> None:
    """Raises InvalidTaskError for headers that name what runs next.

    Celery (5.5 to 5.7) makes the context of a task from its headers, and lets what is embedded in
    the body replace only the members that it has: a chain in a header runs as one in the body.
    """
    if any(headers.get(name) for name in (*_EMBEDDED, "group")):
        raise InvalidTaskError(f"the headers of a hint have none of {', '.join(_EMBEDDED)}, group")


def write_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """The events of a hint: for each its log entry, a blank, and its key, with newlines between."""
    return "\n".join([f"{entry} {key}" for entry, key in pairs])


def read_pairs(domain: Any, events: Any) -> list[tuple[str, str]]:
    """The (log entry, event key) pairs. Raises InvalidTaskError, which says what is wrong."""
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise InvalidTaskError("the domain of a hint is one segment of an event type")
    if not isinstance(events, str):
        raise InvalidTaskError("a hint names its events in a text")
    lines = events.count("\n") + 1
    if lines > MOST_IN_A_HINT:
        raise InvalidTaskError(f"a hint names at most {MOST_IN_A_HINT:,} events")
    pairs: list[tuple[str, str]] = _PAIR.findall(events)
    if len(pairs) != lines:
        raise InvalidTaskError("a hint names events by lines of a log entry and an event key")
    if len(dict(pairs)) != lines:
        raise InvalidTaskError("a hint names each log entry once")
    return pairs
