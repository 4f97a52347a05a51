"""Many dead letters at once, in steps that are short: each one atomic, none reads them all.

Whoever asks goes on with the `after` of the last step until `end`. What is given up meanwhile is
left alone if the choice has `until_ms`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from celeriac.dead_letter.choice import Choice, type_of
from celeriac.dead_letter.single import addressed, lane_of
from celeriac.delivery import DeadLetter, Group, exception_of
from celeriac.errors import NotFound
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.transfer import FIRST_PAGE, next_page, portions

READ = 200
MOST_READ = 2000


@dataclass(frozen=True, slots=True)
class Batch:
    """One step. `chosen` letters were met, `done` of them moved, `refused` could not be, for
    `faults`; the rest were gone. `after` is where the next step goes on. `groups` counts the chosen
    ones by handler, event type and exception."""

    chosen: int
    done: int
    refused: int
    faults: tuple[str, ...]
    after: str
    end: bool
    groups: Mapping[tuple[str, str, str], int]


def count_batch(backend: Backend, choice: Choice, after: str = "") -> Batch:
    """Counts only."""
    return _batch(backend, choice, after, lambda letters: (0, 0, set()))


def redrive_batch(
    backend: Backend,
    records: Mapping[str, HandlerRecord],
    choice: Choice,
    after: str = "",
    note: bytes = b"",
) -> Batch:
    """Delivers the next few again. Those of a handler that was removed are refused."""

    def redrive(letters: Sequence[DeadLetter]) -> tuple[int, int, set[str]]:
        done, refused, faults = 0, 0, set()
        groups: dict[Group, list[DeadLetter]] = {}
        for letter in letters:
            try:
                groups.setdefault(lane_of(records, letter), []).append(letter)
            except NotFound as error:
                refused += 1
                faults.add(str(error))
        for group, own in groups.items():
            pairs = ((letter, addressed(letter)) for letter in own)
            for portion in portions((pair, len(pair[1])) for pair in pairs):
                try:
                    done += backend.deliveries.redrive(group, portion, note)
                except NotFound as error:
                    refused += len(portion)
                    faults.add(str(error))
        return done, refused, faults

    return _batch(backend, choice, after, redrive)


def discard_batch(backend: Backend, choice: Choice, after: str = "", note: bytes = b"") -> Batch:
    """Removes the next few for good."""

    def discard(letters: Sequence[DeadLetter]) -> tuple[int, int, set[str]]:
        ids = [letter.id for letter in letters]
        return backend.deliveries.discard(letters[0].domain, ids, note), 0, set()

    return _batch(backend, choice, after, discard)


def _batch(
    backend: Backend,
    choice: Choice,
    after: str,
    act: Callable[[Sequence[DeadLetter]], tuple[int, int, set[str]]],
) -> Batch:
    """Acts on what is chosen of one reading after the other, until some were or enough was read."""
    is_chosen = choice.test()
    chosen = done = refused = read = 0
    faults: set[str] = set()
    groups: Counter[tuple[str, str, str]] = Counter()
    for some in _readings(backend, after):
        read += len(some)
        after = f"{some[0].domain}/{some[-1].id}"
        wanted = list(filter(is_chosen, some))
        groups.update((one.handler, type_of(one), exception_of(one.error)) for one in wanted)
        if wanted:
            moved, kept, why = act(wanted)
            chosen, done, refused = chosen + len(wanted), done + moved, refused + kept
            faults |= why
        if read >= MOST_READ or done >= READ:
            return Batch(chosen, done, refused, tuple(sorted(faults)), after, False, groups)
    return Batch(chosen, done, refused, tuple(sorted(faults)), after, True, groups)


def _readings(backend: Backend, after: str) -> Iterator[list[DeadLetter]]:
    """Domain by domain, oldest first, from after `domain/id`; each is of one domain."""
    reached, _, id = after.rpartition("/")
    for domain in sorted(backend.event_log.domains()):
        if domain < reached:
            continue
        last, count = id if domain == reached else "", min(FIRST_PAGE, READ)
        while some := backend.deliveries.dead(domain, after=last, count=count):
            yield some
            last = some[-1].id
            count = next_page([len(letter.event) for letter in some], READ)
