"""What a fault explains, and how long a system took to recover."""

from __future__ import annotations

from devtools.faults.fault_window import FaultWindow, deaths, recovery_time, unexplained
from devtools.faults.store import Run

A, B = ("billing.a", "1"), ("billing.a", "2")
DEATH = FaultWindow(frozenset({11}), 10.0, 10.0)


def run(delivery: tuple[str, str], began: float, ended: float | None, pid: int = 11) -> Run:
    return Run(delivery, pid, 1, began, ended)


def test_an_execution_that_its_process_s_death_cut_short_may_be_repeated() -> None:
    assert unexplained([run(A, 9.9, None), run(A, 12.0, 12.1, pid=12)], [DEATH], []) == 0


def test_a_repetition_without_any_death_is_unexplained() -> None:
    runs = [run(A, 9.9, 9.95), run(A, 12.0, 12.1, pid=12)]
    assert unexplained(runs, [], []) == 1
    assert unexplained(runs, [], [A]) == 0


def test_the_death_of_another_process_explains_nothing() -> None:
    runs = [run(A, 9.9, None, pid=13), run(A, 12.0, 12.1, pid=12)]
    assert unexplained(runs, [DEATH], []) == 1
    assert unexplained(runs, [FaultWindow(frozenset(), 10.0, 10.0)], []) == 0


def test_a_death_of_the_main_process_explains_what_ran_in_its_children() -> None:
    runs = [run(A, 9.9, None), run(A, 12.0, 12.1, pid=12)]
    assert unexplained(runs, [FaultWindow(frozenset({1}), 10.0, 10.0)], []) == 0


def test_what_had_ended_long_before_the_death_must_not_be_repeated() -> None:
    """The ledger is told of what ended every 10 ms, so only the last ones may be unknown to it."""
    others = [run(B, 9.90 + n / 1000, 9.901 + n / 1000) for n in range(0, 90, 2)]
    [*_, last] = others
    early = [run(A, 9.80, 9.81), *others, run(A, 12.0, 12.1, pid=12)]
    late = [*others, run(A, 9.989, 9.991), run(A, 12.0, 12.1, pid=12)]
    assert last.ended is not None and last.ended < 9.991
    assert unexplained(early, [DEATH], [B]) == 1
    assert unexplained(late, [DEATH], [B]) == 0


def test_what_began_after_the_harm_is_not_explained_by_it() -> None:
    assert unexplained([run(A, 10.5, None), run(A, 12.0, 12.1, pid=12)], [DEATH], []) == 1


def test_a_frozen_process_may_run_what_it_was_about_to_and_nothing_else() -> None:
    """Between its executor's last look at the clock and the handler's first line nobody can ask."""
    freeze = FaultWindow(frozenset({11}), 10.0, 14.5, frozen=True)
    taken_over = run(A, 13.5, 13.6, pid=12)
    assert unexplained([taken_over, run(A, 14.501, 14.503)], [freeze], []) == 0
    second = [taken_over, run(B, 14.501, 14.503), run(A, 14.504, 14.506)]
    assert unexplained(second, [freeze], []) == 1
    assert unexplained([taken_over, run(A, 14.7, 14.8)], [freeze], []) == 1
    assert unexplained([taken_over, run(A, 14.501, 14.503, pid=13)], [freeze], []) == 1
    long_done = run(A, 9.5, 9.6, pid=12)
    assert unexplained([long_done, run(A, 14.501, 14.503)], [freeze], []) == 1
    death = FaultWindow(frozenset({11}), 10.0, 14.5)
    assert unexplained([taken_over, run(A, 14.501, 14.503)], [death], []) == 1


def test_a_poison_event_explains_what_its_process_had_ended_just_before() -> None:
    before, poison = run(A, 9.995, 9.998), run(B, 10.0, None)
    after = run(A, 12.0, 12.1, pid=12)
    assert unexplained([before, poison, after], deaths([before, poison, after], [B]), [B]) == 0
    # A handler that only raised lets its process go on.
    on = run(("billing.a", "3"), 10.5, 10.6)
    assert deaths([before, poison, on, after], [B]) == []


def test_heal_time_is_the_longest_wait_of_what_was_accepted_before_all_was_whole() -> None:
    accepted = {A: 1.0, B: 2.5}
    assert recovery_time(accepted, {A: 3.0, B: 9.0}, restored=[2.0]) == 1.0
    assert recovery_time(accepted, {A: 3.0, B: 9.0}, restored=[2.0, 4.0]) == 5.0
    assert recovery_time(accepted, {A: 1.5, B: 2.6}, restored=[4.0]) == 0.0
