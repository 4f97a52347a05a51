"""A page of dead letters, newest first, that costs the same however many there are."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from celeriac.dead_letter.choice import Choice
from celeriac.delivery import DeadLetter
from celeriac.event_log import entry_key
from celeriac.store.factory import Backend
from celeriac.transfer import FIRST_PAGE, next_page

READ = 100


@dataclass(frozen=True, slots=True)
class DeadPage:
    """`older` is the cursor of the next page, None at the end. `searched_ms` tells how far back
    was looked: with fewer letters than asked for and a cursor, the search goes on there."""

    letters: tuple[DeadLetter, ...]
    older: str | None
    searched_ms: int | None


def dead_page(
    backend: Backend,
    choice: Choice,
    *,
    before: str = "",
    limit: int = 25,
    most_read: int = 2000,
) -> DeadPage:
    """Up to `limit` chosen letters past the cursor, reading at most `most_read`."""
    is_chosen = choice.test()
    found: list[DeadLetter] = []
    last: DeadLetter | None = None
    for n, letter in enumerate(_newest_first(backend, before)):
        if len(found) == limit or n == most_read:
            assert last is not None
            return DeadPage(tuple(found), f"{last.domain}/{last.id}", entry_key(last.id)[0])
        last = letter
        if is_chosen(letter):
            found.append(letter)
    return DeadPage(tuple(found), None, None)


def _newest_first(backend: Backend, before: str) -> Iterator[DeadLetter]:
    reached, _, bound = before.rpartition("/")

    def of(domain: str) -> Iterator[DeadLetter]:
        # letters of one id in several domains follow each other by the name of the domain, falling
        last = bound if domain >= reached or not bound else _next(bound)
        count = FIRST_PAGE
        while some := backend.deliveries.dead(domain, after=last, count=count, newest_first=True):
            yield from some
            last = some[-1].id
            count = next_page([len(letter.event) for letter in some], READ)

    domains = sorted(backend.event_log.domains())
    return heapq.merge(
        *map(of, domains),
        key=lambda letter: (entry_key(letter.id), letter.domain),
        reverse=True,
    )


def _next(id: str) -> str:
    ms, sequence = entry_key(id)
    return f"{ms}-{sequence + 1}"
