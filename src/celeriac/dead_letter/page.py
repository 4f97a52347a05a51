"""A page of dead letters, newest first, at a cost independent of their number."""

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
    """A page. `older` is the cursor of the next page, None at the end.

    `searched_ms` is the time that the search reached. A page with fewer dead letters than requested
    and a cursor is incomplete: the search continues from there.
    """

    dead_letters: tuple[DeadLetter, ...]
    older: str | None
    searched_ms: int | None


def dead_page(
    backend: Backend,
    choice: Choice,
    *,
    before: str = "",
    limit: int = 25,
    max_read: int = 2000,
) -> DeadPage:
    """Return up to `limit` matching dead letters after the cursor; reads at most `max_read`."""
    is_chosen = choice.test()
    dead_letters: list[DeadLetter] = []
    last: DeadLetter | None = None
    for n, dead_letter in enumerate(_newest_first(backend, before)):
        if len(dead_letters) == limit or n == max_read:
            assert last is not None
            return DeadPage(tuple(dead_letters), f"{last.domain}/{last.id}", entry_key(last.id)[0])
        last = dead_letter
        if is_chosen(dead_letter):
            dead_letters.append(dead_letter)
    return DeadPage(tuple(dead_letters), None, None)


def _newest_first(backend: Backend, before: str) -> Iterator[DeadLetter]:
    reached, _, bound = before.rpartition("/")

    def of(domain: str) -> Iterator[DeadLetter]:
        # Equal ids in several domains are ordered by the domain, descending.
        last = bound if domain >= reached or not bound else _next(bound)
        count = FIRST_PAGE
        while some := backend.deliveries.dead(domain, after=last, count=count, newest_first=True):
            yield from some
            last = some[-1].id
            count = next_page([len(dead_letter.event) for dead_letter in some], READ)

    domains = sorted(backend.event_log.domains())
    return heapq.merge(
        *map(of, domains),
        key=lambda dead_letter: (entry_key(dead_letter.id), dead_letter.domain),
        reverse=True,
    )


def _next(id: str) -> str:
    ms, sequence = entry_key(id)
    return f"{ms}-{sequence + 1}"
