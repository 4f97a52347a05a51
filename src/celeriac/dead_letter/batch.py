"""Actions on many dead letters, in short steps.

Each step is atomic and reads a bounded number. Pass `after` of a step to the next one until `end`.
Dead letters that arrive later are excluded if the choice has `until_ms`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from celeriac.dead_letter.actions import addressed, group_of
from celeriac.dead_letter.choice import Choice, type_of
from celeriac.delivery import DeadLetter, Group, exception_of
from celeriac.errors import NotFound
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.transfer import FIRST_PAGE, next_page, portions

READ = 200
MAX_READ = 2000


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of one step.

    Of `chosen` dead letters, `done` were changed and `refused` could not be, with `faults` as the
    reasons; the others no longer existed. The next step continues after `after`. `groups` counts
    the chosen ones by handler, event type and exception.
    """

    chosen: int
    done: int
    refused: int
    faults: tuple[str, ...]
    after: str
    end: bool
    groups: Mapping[tuple[str, str, str], int]


def count_batch(backend: Backend, choice: Choice, after: str = "") -> Batch:
    """Count the next dead letters."""
    return _batch(backend, choice, after, lambda dead_letters: (0, 0, set()))


def redrive_batch(
    backend: Backend,
    records: Mapping[str, HandlerRecord],
    choice: Choice,
    after: str = "",
    note: bytes = b"",
) -> Batch:
    """Redrive the next dead letters. Those of removed handlers are refused."""

    def redrive(dead_letters: Sequence[DeadLetter]) -> tuple[int, int, set[str]]:
        done, refused, faults = 0, 0, set()
        groups: dict[Group, list[DeadLetter]] = {}
        for dead_letter in dead_letters:
            try:
                groups.setdefault(group_of(records, dead_letter), []).append(dead_letter)
            except NotFound as error:
                refused += 1
                faults.add(str(error))
        for group, chosen in groups.items():
            pairs = ((dead, addressed(dead.event, dead.handler)) for dead in chosen)
            for portion in portions((pair, len(pair[1])) for pair in pairs):
                try:
                    done += backend.deliveries.redrive(group, portion, note)
                except NotFound as error:
                    refused += len(portion)
                    faults.add(str(error))
        return done, refused, faults

    return _batch(backend, choice, after, redrive)


def discard_batch(backend: Backend, choice: Choice, after: str = "", note: bytes = b"") -> Batch:
    """Discard the next dead letters permanently."""

    def discard(dead_letters: Sequence[DeadLetter]) -> tuple[int, int, set[str]]:
        ids = [dead_letter.id for dead_letter in dead_letters]
        return backend.deliveries.discard(dead_letters[0].domain, ids, note), 0, set()

    return _batch(backend, choice, after, discard)


def _batch(
    backend: Backend,
    choice: Choice,
    after: str,
    action: Callable[[Sequence[DeadLetter]], tuple[int, int, set[str]]],
) -> Batch:
    """Apply the action to chosen dead letters, page by page, until the limit of one step."""
    is_chosen = choice.test()
    chosen = done = refused = read = 0
    faults: set[str] = set()
    groups: Counter[tuple[str, str, str]] = Counter()
    for some in _readings(backend, after):
        read += len(some)
        after = f"{some[0].domain}/{some[-1].id}"
        wanted = list(filter(is_chosen, some))
        groups.update((item.handler, type_of(item), exception_of(item.error)) for item in wanted)
        if wanted:
            moved, kept, why = action(wanted)
            chosen, done, refused = chosen + len(wanted), done + moved, refused + kept
            faults |= why
        if read >= MAX_READ or done >= READ:
            return Batch(chosen, done, refused, tuple(sorted(faults)), after, False, groups)
    return Batch(chosen, done, refused, tuple(sorted(faults)), after, True, groups)


def _readings(backend: Backend, after: str) -> Iterator[list[DeadLetter]]:
    """Yield pages of dead letters after `domain/id`, domain by domain, oldest first."""
    reached, _, id = after.rpartition("/")
    for domain in sorted(backend.event_log.domains()):
        if domain < reached:
            continue
        last, count = id if domain == reached else "", min(FIRST_PAGE, READ)
        while some := backend.deliveries.dead(domain, after=last, count=count):
            yield some
            last = some[-1].id
            count = next_page([len(dead_letter.event) for dead_letter in some], READ)
