"""Dead letters over all domains: named and chosen."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from celeriac.delivery import DeadLetter, exception_of
from celeriac.errors import InvalidEvent, NotFound
from celeriac.event import compile_patterns, read_header
from celeriac.event_log import entry_key
from celeriac.store.factory import Backend

PAGE = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters; what is None does not restrict.

    `pattern` is one of event types, `error` a part of the error's text, `exception` its type,
    `until_ms` when it was given up at the latest.
    """

    handler: str | None = None
    pattern: str | None = None
    error: str | None = None
    exception: str | None = None
    until_ms: int | None = None

    def test(self) -> Callable[[DeadLetter], bool]:
        """Says of a dead letter whether it is chosen. Raises SubscriptionError for a pattern."""
        matcher = compile_patterns(self.pattern) if self.pattern is not None else None
        text = self.error.lower() if self.error is not None else None

        def is_chosen(letter: DeadLetter) -> bool:
            return (
                self.handler in (None, letter.handler)
                and self.exception in (None, exception_of(letter.error))
                and (text is None or text in letter.error.lower())
                and (self.until_ms is None or entry_key(letter.id)[0] <= self.until_ms)
                and (matcher is None or matcher.matches(type_of(letter)))
            )

        return is_chosen


def choose(
    backend: Backend, choice: Choice, *, newest_first: bool = False, most: int | None = None
) -> Iterator[DeadLetter]:
    """The chosen dead letters of every domain by age. Raises SubscriptionError for a pattern."""
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
        key=lambda letter: entry_key(letter.id),
        reverse=newest_first,
    )
    return islice(merged, most)


def letter_at(backend: Backend, name: str) -> DeadLetter:
    """The dead letter `domain/id`. Raises NotFound."""
    domain, _, id = name.rpartition("/")
    letter = backend.deliveries.dead_letter(domain, id) if domain else None
    if letter is None:
        raise NotFound(
            f"no dead letter {name}; `celeriac dead list` shows those there are, as domain/id"
        )
    return letter


def type_of(letter: DeadLetter) -> str:
    """The event's type; empty if it is no event."""
    try:
        return read_header(letter.event).type
    except InvalidEvent:
        return ""
