"""What a hint may say. It came from a broker that others may write to, and proves nothing.

It may name a domain and, of that, log entries with the ids of their events. All else is refused
before it becomes the name of a key in Redis or an argument of a script.
"""

from __future__ import annotations

import re
from typing import Any

from celery.exceptions import InvalidTaskError

from celeriac.event.attributes import MAX_LENGTH
from celeriac.settings import MOST_IN_A_HINT

_DOMAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_LENGTH}}}", re.ASCII)
_ENTRY = re.compile(r"\d{1,19}-\d{1,19}", re.ASCII)
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
    if isinstance(embedded, dict) and any(embedded.get(name) for name in _EMBEDDED):
        raise InvalidTaskError(f"a hint embeds none of {', '.join(_EMBEDDED)}")


def read_pairs(domain: Any, events: Any) -> list[tuple[str, str]]:
    """The (log entry, event id) pairs. Raises InvalidTaskError, which says what is wrong."""
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        raise InvalidTaskError("the domain of a hint is one segment of an event type")
    if not isinstance(events, (list, tuple)) or not 0 < len(events) <= MOST_IN_A_HINT:
        raise InvalidTaskError(f"a hint names 1 to {MOST_IN_A_HINT:,} events, in a list")
    pairs = [_pair(one) for one in events]
    if len(dict(pairs)) != len(pairs):
        raise InvalidTaskError("a hint names each log entry once")
    return pairs


def _pair(one: Any) -> tuple[str, str]:
    if isinstance(one, (list, tuple)) and len(one) == 2:
        entry, event_id = one
        if (
            isinstance(entry, str)
            and isinstance(event_id, str)
            and _ENTRY.fullmatch(entry)
            and 0 < len(event_id) <= MAX_LENGTH
        ):
            return entry, event_id
    raise InvalidTaskError("a hint names events as pairs of a log entry and an event id")
