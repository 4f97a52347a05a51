"""What a fault did to running work: which repetitions it explains, and when all was whole again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from celeriac.executor.work import TELL_AFTER
from devtools.faults.store import Delivery, Run

SLACK = 0.005  # seconds between a handler's last line and the executor's next
THAWED = 0.1  # seconds within which a thawed process gets to a processor


@dataclass(frozen=True, slots=True)
class Harm:
    """Processes died, or were cut off for longer than their lease: `pids`, or all if it is empty.

    For a death `ended` is the moment of it. `frozen`: they did nothing at all, and then went on.
    """

    pids: frozenset[int]
    began: float
    ended: float
    frozen: bool = False

    def hits(self, run: Run) -> bool:
        return not self.pids or run.pid in self.pids or run.main in self.pids


def deaths(runs: Sequence[Run], failing: Collection[Delivery]) -> list[Harm]:
    """Harm that handlers did themselves: processes whose last run was one of `failing` and never
    ended."""
    last = {run.pid: run for run in sorted(runs, key=lambda run: run.began)}
    return [
        Harm(frozenset({run.pid}), run.began, run.began)
        for run in last.values()
        if run.ended is None and run.delivery in failing
    ]


def unexplained(runs: Iterable[Run], harms: Sequence[Harm], known: Collection[Delivery]) -> int:
    """How many executions beyond the first no harm explains; `known` are left out.

    One is explained if the execution before it was under way when its process was harmed. What had
    ended counts as under way until the ledger was told, which the executor does every TELL_AFTER.
    Also if its own process was frozen on the way to the handler's first line: that is the first
    thing it does when thawed, at once, and the execution before it was meanwhile.
    """
    by_delivery: dict[Delivery, list[Run]] = defaultdict(list)
    ends: dict[int, list[float]] = defaultdict(list)
    begins: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        by_delivery[run.delivery].append(run)
        begins[run.pid].append(run.began)
        if run.ended is not None:
            ends[run.pid].append(run.ended)
    return sum(
        not any(
            _under_way(before, harm, ends[before.pid])
            or _on_its_way(again, before, harm, begins[again.pid])
            for harm in harms
        )
        for delivery, all_runs in by_delivery.items()
        if delivery not in known
        for before, again in pairwise(all_runs)
    )


def _on_its_way(again: Run, before: Run, harm: Harm, begins: Sequence[float]) -> bool:
    if not harm.frozen or not harm.hits(again) or not harm.began <= before.began < again.began:
        return False
    first = min((began for began in begins if began > before.began), default=None)
    return again.began == first and again.began <= harm.ended + THAWED


def _under_way(run: Run, harm: Harm, ends: Sequence[float]) -> bool:
    if not harm.hits(run) or run.began > harm.ended:
        return False
    if run.ended is None:
        return True
    # The ledger knew of all that ended TELL_AFTER before the process began its last execution
    # but one: after that one it was told, unless it had been told less than TELL_AFTER ago.
    earlier = sorted(end for end in ends if end < harm.began)[-2:]
    told_until = earlier[0] - TELL_AFTER - SLACK if earlier else 0.0
    return run.ended >= told_until


def heal_time(
    accepted: Mapping[Delivery, float], effects: Mapping[Delivery, float], whole: Iterable[float]
) -> float:
    """The longest time from a moment at which all was whole again until everything that was
    accepted before it had its effect. Deliveries without one are left out."""
    longest = 0.0
    for moment in whole:
        before = (effects.get(one, 0.0) for one, at in accepted.items() if at <= moment)
        longest = max(longest, max(before, default=0.0) - moment)
    return longest
