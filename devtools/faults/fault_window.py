"""The time in which a fault affected running work: which repetitions it explains, and recovery."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from celeriac.executor.completion_reporter import REPORT_INTERVAL
from devtools.faults.store import Delivery, Run

NEAR = 10.0  # seconds before a run, of the faults that are shown with it
SLACK = 0.005  # seconds between a handler's last line and the executor's next
THAWED = 0.1  # seconds within which a thawed process gets to a processor


def show_repetition(before: Run, again: Run, windows: Sequence[FaultWindow]) -> str:
    """Return a repetition and the windows near it, with times relative to the first run."""
    zero = before.began

    def shown(run: Run) -> str:
        ended = "never" if run.ended is None else f"{run.ended - zero:.3f}"
        return f"{run.began - zero:.3f} to {ended} in {run.pid} of {run.main}"

    near = [
        f"{window.began - zero:.3f} to {window.ended - zero:.3f}"
        f"{' frozen' if window.frozen else ''} {sorted(window.pids)}"
        for window in windows
        if window.began < again.began and window.ended > zero - NEAR
    ]
    return f"{before.delivery}: {shown(before)}, again {shown(again)}; faults: {near}"


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """Processes died, or were cut off for longer than their lease: `pids`, or all if it is empty.

    For a death, `ended` is its time. `frozen` processes were stopped and then continued.
    """

    pids: frozenset[int]
    began: float
    ended: float
    frozen: bool = False

    def hits(self, run: Run) -> bool:
        return not self.pids or run.pid in self.pids or run.main in self.pids


def deaths(runs: Sequence[Run], failing: Collection[Delivery]) -> list[FaultWindow]:
    """Return the windows that handlers caused: the last run of the process is in `failing`, and
    never ended."""
    last = {run.pid: run for run in sorted(runs, key=lambda run: run.began)}
    return [
        FaultWindow(frozenset({run.pid}), run.began, run.began)
        for run in last.values()
        if run.ended is None and run.delivery in failing
    ]


def unexplained(
    runs: Iterable[Run], windows: Sequence[FaultWindow], known: Collection[Delivery]
) -> list[tuple[Run, Run]]:
    """Return the repetitions that no window explains, each with the run before it. Deliveries in
    `known` do not count.

    A window explains a repetition if the run before it was in progress when the fault hit its
    process. A run that ended counts as in progress until it was reported to the delivery store,
    which happens every REPORT_INTERVAL. A window also explains the first run of a thawed process,
    which was frozen on its way to the handler's first line: its lease has expired, so the event ran
    elsewhere in that time, or runs again.
    """
    by_delivery: dict[Delivery, list[Run]] = defaultdict(list)
    ends: dict[int, list[float]] = defaultdict(list)
    begins: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        by_delivery[run.delivery].append(run)
        begins[run.pid].append(run.began)
        if run.ended is not None:
            ends[run.pid].append(run.ended)
    return [
        (before, again)
        for delivery, all_runs in by_delivery.items()
        if delivery not in known
        for before, again in pairwise(all_runs)
        if not any(
            _under_way(before, window, ends[before.pid])
            or (window.began <= before.began and _on_its_way(again, window, begins[again.pid]))
            or _on_its_way(before, window, begins[before.pid])
            for window in windows
        )
    ]


def _on_its_way(run: Run, window: FaultWindow, begins: Sequence[float]) -> bool:
    if not window.frozen or not window.hits(run):
        return False
    first = min((began for began in begins if began > window.began), default=None)
    # It may begin before `ended`, which is noted after the process was thawed.
    return run.began == first and abs(run.began - window.ended) <= THAWED


def _under_way(run: Run, window: FaultWindow, ends: Sequence[float]) -> bool:
    if not window.hits(run) or run.began > window.ended:
        return False
    if run.ended is None:
        return True
    # Runs that ended REPORT_INTERVAL before the process began its last but one run are reported: a
    # report follows each run, unless the last report is less than REPORT_INTERVAL old.
    earlier = sorted(end for end in ends if end < window.began)[-2:]
    reported_until = earlier[0] - REPORT_INTERVAL - SLACK if earlier else 0.0
    return run.ended >= reported_until


def recovery_time(
    accepted: Mapping[Delivery, float], effects: Mapping[Delivery, float], restored: Iterable[float]
) -> float:
    """Return the longest time from a restoration to the last effect of what was accepted before it.

    Deliveries without an effect do not count.
    """
    longest = 0.0
    for moment in restored:
        before = (effects.get(key, 0.0) for key, at in accepted.items() if at <= moment)
        longest = max(longest, max(before, default=0.0) - moment)
    return longest
