"""Dead letters over all domains: named, chosen, redriven, discarded."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import msgspec

from celeriac.errors import InvalidEvent, NotFound
from celeriac.event import compile_patterns, decode, encode, peek
from celeriac.ledger import DeadLetter, Lane
from celeriac.log import entry_key
from celeriac.registry import HandlerRecord
from celeriac.subscription import Backend

PAGE = 200
# An id is unique within its domain.
NAME = "{0.domain}/{0.id}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters; what is None does not restrict."""

    handler: str | None = None
    pattern: str | None = None
    error: str | None = None


def choose(
    backend: Backend, choice: Choice, *, newest_first: bool = False, most: int | None = None
) -> Iterator[DeadLetter]:
    """The chosen dead letters of every domain by age. Raises SubscriptionError for a pattern."""
    matcher = compile_patterns(choice.pattern) if choice.pattern is not None else None

    def is_chosen(letter: DeadLetter) -> bool:
        return (
            choice.handler in (None, letter.handler)
            and (choice.error is None or choice.error.lower() in letter.error.lower())
            and (matcher is None or matcher.matches(type_of(letter)))
        )

    def of(domain: str) -> Iterator[DeadLetter]:
        after = ""
        while some := backend.ledger.dead(
            domain, after=after, count=PAGE, newest_first=newest_first
        ):
            yield from filter(is_chosen, some)
            after = some[-1].id

    merged = heapq.merge(
        *map(of, sorted(backend.log.domains())),
        key=lambda letter: entry_key(letter.id),
        reverse=newest_first,
    )
    return islice(merged, most)


def letter_at(backend: Backend, name: str) -> DeadLetter:
    """The dead letter `domain/id`. Raises NotFound."""
    domain, _, id = name.rpartition("/")
    letter = backend.ledger.dead_letter(domain, id) if domain else None
    if letter is None:
        raise NotFound(
            f"no dead letter {name}; `celeriac dead list` shows those there are, as domain/id"
        )
    return letter


def redrive_letter(
    backend: Backend, records: Mapping[str, HandlerRecord], domain: str, id: str
) -> bool:
    """Delivers it again; False if it is gone. Raises NotFound where its handler is."""
    letter = backend.ledger.dead_letter(domain, id)
    if letter is None:
        return False
    record = records.get(letter.handler)
    if record is None:
        raise NotFound(f"no handler {letter.handler} (any more)")
    lane = Lane(domain, letter.handler, record.ordered)
    return backend.ledger.redrive(lane, letter, _addressed(letter))


def discard_letters(backend: Backend, chosen: Sequence[tuple[str, str]]) -> int:
    """Removes (domain, id) pairs; returns how many there were."""
    done = 0
    for domain, group in groupby(sorted(chosen), key=lambda pair: pair[0]):
        ids = [id for _, id in group]
        for i in range(0, len(ids), PAGE):
            done += backend.ledger.discard(domain, ids[i : i + PAGE])
    return done


def _addressed(letter: DeadLetter) -> bytes:
    try:
        return encode(msgspec.structs.replace(decode(letter.event), handlers=(letter.handler,)))
    except InvalidEvent:
        return letter.event


def type_of(letter: DeadLetter) -> str:
    """The event's type; empty if it is no event."""
    try:
        return peek(letter.event).type
    except InvalidEvent:
        return ""
