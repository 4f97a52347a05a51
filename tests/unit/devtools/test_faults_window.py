"""What a fault explains, and how long a system took to recover."""

from __future__ import annotations

from devtools.faults.fault_window import (
    FaultWindow,
    deaths,
    recovery_time,
    show_repetition,
    unexplained,
)
from devtools.faults.store import Run

A, B = ("billing.a", "1"), ("billing.a", "2")
DEATH = FaultWindow(frozenset({11}), 10.0, 10.0)


def run(delivery: tuple[str, str], began: float, ended: float | None, pid: int = 11) -> Run:
    return Run(delivery, pid, 1, began, ended)


def test_an_execution_that_its_process_s_death_cut_short_may_be_repeated() -> None:
    assert len(unexplained([run(A, 9.9, None), run(A, 12.0, 12.1, pid=12)], [DEATH], [])) == 0


def test_a_repetition_without_any_death_is_unexplained() -> None:
    runs = [run(A, 9.9, 9.95), run(A, 12.0, 12.1, pid=12)]
    assert len(unexplained(runs, [], [])) == 1
    assert len(unexplained(runs, [], [A])) == 0


def test_the_death_of_another_process_explains_nothing() -> None:
    runs = [run(A, 9.9, None, pid=13), run(A, 12.0, 12.1, pid=12)]
    assert len(unexplained(runs, [DEATH], [])) == 1
    assert len(unexplained(runs, [FaultWindow(frozenset(), 10.0, 10.0)], [])) == 0


def test_a_death_of_the_main_process_explains_what_ran_in_its_children() -> None:
    runs = [run(A, 9.9, None), run(A, 12.0, 12.1, pid=12)]
    assert len(unexplained(runs, [FaultWindow(frozenset({1}), 10.0, 10.0)], [])) == 0


def test_what_had_ended_long_before_the_death_must_not_be_repeated() -> None:
    """Completions are reported every 10 ms, so only the last ones may be unreported."""
    others = [run(B, 9.90 + n / 1000, 9.901 + n / 1000) for n in range(0, 90, 2)]
    [*_, last] = others
    early = [run(A, 9.80, 9.81), *others, run(A, 12.0, 12.1, pid=12)]
    late = [*others, run(A, 9.989, 9.991), run(A, 12.0, 12.1, pid=12)]
    assert last.ended is not None and last.ended < 9.991
    assert len(unexplained(early, [DEATH], [B])) == 1
    assert len(unexplained(late, [DEATH], [B])) == 0


def test_what_began_after_the_harm_is_not_explained_by_it() -> None:
    assert len(unexplained([run(A, 10.5, None), run(A, 12.0, 12.1, pid=12)], [DEATH], [])) == 1


def test_a_frozen_process_may_run_what_it_was_about_to_and_nothing_else() -> None:
    """Between its executor's last check and the handler's first line no check is possible."""
    freeze = FaultWindow(frozenset({11}), 10.0, 14.5, frozen=True)
    taken_over = run(A, 13.5, 13.6, pid=12)
    assert len(unexplained([taken_over, run(A, 14.501, 14.503)], [freeze], [])) == 0
    second = [taken_over, run(B, 14.501, 14.503), run(A, 14.504, 14.506)]
    assert len(unexplained(second, [freeze], [])) == 1
    assert len(unexplained([taken_over, run(A, 14.7, 14.8)], [freeze], [])) == 1
    assert len(unexplained([taken_over, run(A, 14.501, 14.503, pid=13)], [freeze], [])) == 1
    long_done = run(A, 9.5, 9.6, pid=12)
    assert len(unexplained([long_done, run(A, 14.501, 14.503)], [freeze], [])) == 1
    death = FaultWindow(frozenset({11}), 10.0, 14.5)
    assert len(unexplained([taken_over, run(A, 14.501, 14.503)], [death], [])) == 1


def test_what_a_thawed_process_runs_first_may_run_again() -> None:
    """Its lease expired, and no process had taken the event yet."""
    freeze = FaultWindow(frozenset({11}), 10.0, 14.5, frozen=True)
    thawed, other = run(A, 14.515, 14.517), run(B, 14.515, 14.517)
    at_once = [run(A, 13.5, 13.6, pid=12), run(A, 14.499, 14.501)]
    assert len(unexplained(at_once, [freeze], [])) == 0
    for pid in (11, 12):
        assert len(unexplained([thawed, run(A, 14.6, 14.61, pid=pid)], [freeze], [])) == 0
    again = run(A, 14.6, 14.61)
    assert len(unexplained([run(A, 14.52, 14.53), again, other], [freeze], [])) == 1
    late = run(A, 14.7, 14.71)
    assert len(unexplained([run(A, 14.515, 14.517, pid=13), late], [freeze], [])) == 1
    assert len(unexplained([late, run(A, 14.8, 14.81)], [freeze], [])) == 1


def test_a_poison_event_explains_what_its_process_had_ended_just_before() -> None:
    before, poison = run(A, 9.995, 9.998), run(B, 10.0, None)
    after = run(A, 12.0, 12.1, pid=12)
    assert len(unexplained([before, poison, after], deaths([before, poison, after], [B]), [B])) == 0
    # A handler that only raised lets its process go on.
    on = run(("billing.a", "3"), 10.5, 10.6)
    assert deaths([before, poison, on, after], [B]) == []


def test_recovery_time_is_the_longest_wait_of_events_accepted_before_recovery() -> None:
    accepted = {A: 1.0, B: 2.5}
    assert recovery_time(accepted, {A: 3.0, B: 9.0}, restored=[2.0]) == 1.0
    assert recovery_time(accepted, {A: 3.0, B: 9.0}, restored=[2.0, 4.0]) == 5.0
    assert recovery_time(accepted, {A: 1.5, B: 2.6}, restored=[4.0]) == 0.0


def test_an_unexplained_repetition_shows_its_runs_and_the_faults_near_it() -> None:
    freeze = FaultWindow(frozenset({11}), 10.05, 14.5, frozen=True)
    shown = show_repetition(run(A, 10.0, 10.1), run(A, 14.7, None, pid=12), [freeze])
    assert "0.000 to 0.100 in 11" in shown
    assert "again 4.700 to never in 12" in shown
    assert "0.050 to 4.500 frozen [11]" in shown
