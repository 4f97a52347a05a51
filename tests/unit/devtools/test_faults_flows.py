"""What the rows of processes are judged by."""

from __future__ import annotations

import msgspec

from celeriac.process import Status
from celeriac.process.rows import StepDetail
from devtools.faults.apps.flow import effects_of
from devtools.faults.scenarios.flows import (
    forgotten_but_fired,
    undone_in_the_wrong_order,
    wrong_instances,
)

EVEN, ODD = "00002-a", "00001-a"  # completes; is aborted


def step(*emitted: str, forgotten: tuple[str, ...] = ()) -> str:
    types = tuple((type, "id") for type in emitted)
    detail = StepDetail(Status.OPEN, emitted=types, forgotten=forgotten)
    return msgspec.json.encode(detail).decode()


def test_each_key_has_one_instance_that_ended_as_it_should() -> None:
    assert wrong_instances([(EVEN, "completed"), (ODD, "aborted")], [EVEN, ODD]) == []
    assert wrong_instances([(EVEN, "aborted")], [EVEN, ODD]) == [
        f"{EVEN} is aborted", f"{ODD} has no instance",
    ]  # fmt: skip
    assert wrong_instances([(EVEN, "completed"), (EVEN, "completed")], [EVEN]) == [
        f"{EVEN} is completed"
    ]


def test_a_timer_may_fire_before_it_is_forgotten_only() -> None:
    before = [(ODD, step("effect.fired")), (ODD, step("effect.paid", forgotten=("forgotten",)))]
    assert forgotten_but_fired(before) == []
    after = [*before, (EVEN, step("effect.fired")), (ODD, step("effect.fired"))]
    assert forgotten_but_fired(after) == [f"{ODD}: a forgotten timer fired"]


def test_undo_events_are_published_newest_first() -> None:
    right = ["requested", "fired", "paid", "unpaid", "unrequested"]
    assert undone_in_the_wrong_order([(f"effect.{type}", ODD) for type in right]) == []
    wrong = ["requested", "paid", "unrequested", "unpaid"]
    [problem] = undone_in_the_wrong_order([(f"effect.{type}", ODD) for type in wrong])
    assert problem.startswith(f"{ODD}: effect.requested")
    doubled = [*right, "unrequested"]
    assert undone_in_the_wrong_order([(f"effect.{type}", ODD) for type in doubled])


def test_the_effects_of_an_instance_are_known_before() -> None:
    assert [event.partition("/")[0] for _, event in effects_of(EVEN)] == [
        "effect.requested", "effect.paid", "effect.sent",
    ]  # fmt: skip
    assert len(list(effects_of(ODD))) == 4
