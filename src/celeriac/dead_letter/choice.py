"""Select dead letters over all domains."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from celeriac.delivery import DeadLetter, exception_of
from celeriac.errors import InvalidEvent, NotFound
from celeriac.event import EventHeader, compile_patterns, read_header
from celeriac.event_log import entry_key
from celeriac.store.factory import Backend

PAGE = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter of dead letters; None matches everything.

    `pattern` is a pattern of event types, `error` a part of the error's text, `exception` its type,
    `until_ms` the latest time of the failure, `tenant` that of the event.
    """

    handler: str | None = None
    pattern: str | None = None
    error: str | None = None
    exception: str | None = None
    until_ms: int | None = None
    tenant: str | None = None

    def test(self) -> Callable[[DeadLetter], bool]:
        """Return a test of dead letters. Raises SubscriptionError for an invalid pattern."""
        matcher = compile_patterns(self.pattern) if self.pattern is not None else None
        text = self.error.lower() if self.error is not None else None

        def is_chosen(dead_letter: DeadLetter) -> bool:
            return (
                self.handler in (None, dead_letter.handler)
                and self.exception in (None, exception_of(dead_letter.error))
                and (text is None or text in dead_letter.error.lower())
                and (self.until_ms is None or entry_key(dead_letter.id)[0] <= self.until_ms)
                and self.tenant in (None, tenant_of(dead_letter))
                and (matcher is None or matcher.matches(type_of(dead_letter)))
            )

        return is_chosen


def choose(
    backend: Backend, choice: Choice, *, newest_first: bool = False, limit: int | None = None
) -> Iterator[DeadLetter]:
    """Yield the matching dead letters of all domains by age.

    Raises SubscriptionError for an invalid pattern.
    """
    is_chosen = choice.test()

    def of(domain: str) -> Iterator[DeadLetter]:
        after = ""
        while some := backend.deliveries.dead(
            domain, after=after, count=PAGE, newest_first=newest_first
        ):
            yield from filter(is_chosen, some)
            after = some[-1].id

    merged = heapq.merge(
        *map(of, sorted(backend.event_log.domains())),
        key=lambda dead_letter: entry_key(dead_letter.id),
        reverse=newest_first,
    )
    return islice(merged, limit)


def dead_letter_at(backend: Backend, name: str) -> DeadLetter:
    """Return the dead letter `domain/id`. Raises NotFound."""
    domain, _, id = name.rpartition("/")
    dead_letter = backend.deliveries.dead_letter(domain, id) if domain else None
    if dead_letter is None:
        raise NotFound(
            f"dead letter not found: {name}. Run `celeriac dead list`, which shows names."
        )
    return dead_letter


def type_of(dead_letter: DeadLetter) -> str:
    """Return the event's type; empty if it is not an event."""
    header = _header(dead_letter)
    return "" if header is None else header.type


def tenant_of(dead_letter: DeadLetter) -> str | None:
    """Return the event's tenant; None if it has none, or is not an event."""
    header = _header(dead_letter)
    return None if header is None else header.tenant


def _header(dead_letter: DeadLetter) -> EventHeader | None:
    try:
        return read_header(dead_letter.event)
    except InvalidEvent:
        return None
