"""What operators see of an instance."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from celeriac.event import build_event, encode
from celeriac.process.decision import Status
from celeriac.process.instance import Instance, ProcessStep, Timer
from celeriac.process.query import InstanceHistory
from celeriac.process.view import view_of


def undo(type: str) -> str:
    return encode(build_event(type, None, source="shop")).decode()


INSTANCE = Instance(
    "a", "k", Status.ABORTED, b'{"card":"4111","n":1}', 2, 3, {"late": Timer("e", 9)},
    [undo("a.first"), "{", undo("a.last")], "why", "", 10, 20, 30,
)  # fmt: skip
STEP = ProcessStep(
    seq=1, at_ms=5, event_id="e", event_type="a.b", status=Status.OPEN, emitted=(("c.d", "id"),),
    reminders=(("late", 9),), forgotten=("early",), reason="why",
)  # fmt: skip


def test_it_has_everything_of_the_instance_and_its_steps() -> None:
    assert {
        "handler": "a",
        "key": "k",
        "status": "aborted",
        "reason": "why",
        "state": {"card": "4111", "n": 1},
        "version": 2,
        "started_ms": 10,
        "updated_ms": 20,
        "expires_ms": 30,
        "timers": [{"name": "late", "at_ms": 9}],
        "undo": ["a.last", "(invalid event)", "a.first"],
        "steps": [
            {
                "seq": 1,
                "at_ms": 5,
                "event_type": "a.b",
                "event_id": "e",
                "status": "open",
                "emitted": [{"type": "c.d", "id": "id"}],
                "reminders": [{"name": "late", "at_ms": 9}],
                "forgotten": ["early"],
            }
        ],
    } == msgspec.json.decode(msgspec.json.encode(view_of(InstanceHistory(INSTANCE, (STEP,)))))


def test_sensitive_parts_of_the_state_are_masked() -> None:
    history = InstanceHistory(INSTANCE, ())
    assert {"card": "***", "n": 1} == view_of(history, {"card"}).state
    own = InstanceHistory(replace(INSTANCE, sensitive="n"), ())
    assert {"card": "4111", "n": "***"} == view_of(own).state
