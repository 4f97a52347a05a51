"""Domains that many lanes of this dispatcher share, where one look serves for all that rest.

What nobody rings for (a lease that is over, a group that is gone) is looked for in all of them at
once, and so are the groups moved on that want nothing of what was read: a thousand lanes asked for
one by one would be a thousand scripts, each with entries to settle.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import islice

from celeriac.dispatcher.addressees import Addressees
from celeriac.dispatcher.agenda import RUNG
from celeriac.ledger import Ask, Lane, Ledger, Stretch, Taken
from celeriac.log import EventLog, entry_key
from celeriac.subscription import Handler

CROWD = 4  # lanes in one domain
PART = 256  # lanes that are looked at together: a thousand would hold Redis up for milliseconds
FEW = 4  # parts that are looked at in a turn that has other work


class Crowds:
    """Those of one dispatcher. `every` is how often each is looked at, in seconds."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._lanes: dict[str, dict[Lane, Handler]] = {}
        self._parts: dict[str, list[list[Lane]]] = {}
        self._look_at: dict[tuple[str, int], float] = {}
        self._addressees = Addressees()

    def serve(self, lanes: Mapping[Lane, Handler]) -> None:
        """All lanes that there are, in whichever domain."""
        found: dict[str, dict[Lane, Handler]] = {}
        for lane, handler in lanes.items():
            found.setdefault(lane.domain, {})[lane] = handler
        self._lanes = {domain: some for domain, some in found.items() if len(some) >= CROWD}
        self._parts = {domain: _parts(list(some)) for domain, some in self._lanes.items()}
        parts = [(domain, n) for domain, some in self._parts.items() for n in range(len(some))]
        self._look_at = {part: self._look_at.get(part, RUNG) for part in parts}
        self._addressees.forget()

    def __contains__(self, domain: str) -> bool:
        return domain in self._lanes

    def wanting(self, log: EventLog, domain: str, newest: str) -> list[Lane]:
        """The lanes that want something new; see Addressees.of."""
        return self._addressees.of(log, domain, newest, self._lanes[domain])

    def behind(self) -> list[str]:
        """Where there is more to read for lanes that have nothing to do."""
        is_behind, lanes = self._addressees.is_behind, self._lanes
        return [d for d in self._addressees.read_in_part() if d in lanes and is_behind(d, lanes[d])]

    def stretch(self, lane: Lane, handler: Handler, most: int) -> Stretch | None:
        """With what the lane is to be asked for, so that it is given only what it wants."""
        if lane.domain not in self:
            return None
        stretch = self._addressees.stretch(lane, handler, most)
        return stretch if entry_key(stretch.after) < entry_key(stretch.upto) else None

    def given(self, ask: Ask, taken: Taken) -> bool:
        """What a lane was given; whether that was all it wants now, though there may be more of
        what it does not."""
        if ask.lane.domain not in self:
            return False
        entries = [delivery.entry for delivery in taken.deliveries]
        all_there = _gave_all(ask, taken)
        has_all = self._addressees.given(ask.lane, ask.stretch, entries, all_there=all_there)
        return has_all and taken.next_due_ms is None

    def waits(self, lane: Lane) -> bool:
        """Whether there is more of what it wants, as far as is known."""
        return self._addressees.waits(lane)

    def ring(self, domain: str) -> None:
        """Something is due there, of whichever lane: it is looked at in the next turn."""
        self._look_at |= {(domain, n): RUNG for n in range(len(self._parts[domain]))}

    def look(
        self, ledger: Ledger, now: float, rests: Callable[[Lane], bool], *, busy: bool
    ) -> list[Lane]:
        """The lanes that are to be asked for, of those that rest where it is time to look.

        Blocks for a round trip, if there is such a domain.
        """
        to_ask: list[Lane] = []
        unwanted: list[Stretch] = []
        parts = (part for part, at in self._look_at.items() if at <= now)
        for domain, n in list(islice(parts, FEW if busy else None)):
            for lane in self._parts[domain][n]:
                if not rests(lane):
                    continue
                if self._addressees.waits(lane):
                    to_ask.append(lane)
                else:
                    handler = self._lanes[domain][lane]
                    unwanted.append(self._addressees.stretch(lane, handler))
            self._look_at[domain, n] = now + self._every * random.uniform(0.5, 1)
        return to_ask + (ledger.pass_over(unwanted) if unwanted else [])


def _parts(lanes: list[Lane]) -> list[list[Lane]]:
    return [lanes[i : i + PART] for i in range(0, len(lanes), PART)]


def _gave_all(ask: Ask, taken: Taken) -> bool:
    """Whether nothing that was new for the lane was left in the log."""
    given = len(taken.deliveries)
    within = ask.most_held is None or taken.held + given < ask.most_held
    return given < ask.most_new and taken.queued + given < ask.limit and within
