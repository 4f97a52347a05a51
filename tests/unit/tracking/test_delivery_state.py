"""The state of a delivery, for everything that may be stored about it."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.delivery import DeliveryState, Pending, Row
from celeriac.delivery.run_record import Run, RunOutcome
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.tracking.delivery_state import Evidence, delivery_state

ENTRY = "5-0"


def row(state: DeliveryState) -> Row:
    return Row(state=state, entry=ENTRY, attempt=1, at_ms=6, took_us=7)


def pending(owner: str) -> Pending:
    return Pending(ENTRY, owner, held_ms=1, attempts=1)


def chunk(owner: str) -> OpenChunk:
    return OpenChunk("c", "4-0", "9-0", 2, owner, 10)


def run(outcome: RunOutcome) -> Run:
    return Run(ENTRY, outcome, 1000, "w1", 11)


PROCESSED, IGNORED, EXCEPTION = RunOutcome
QUEUED_CHUNK, RUNNING_CHUNK = chunk("queued:w1"), chunk("running:w1")


@pytest.mark.parametrize(
    ("given", "state"),
    [
        # One place at a time.
        ({"ahead": True}, "waiting"),
        ({"chunk": QUEUED_CHUNK}, "queued"),
        ({"chunk": RUNNING_CHUNK}, "running"),
        ({"pending": pending("queued:w1")}, "queued"),
        ({"pending": pending("running:w1"), "row": row(DeliveryState.RUNNING)}, "running"),
        ({"pending": pending("scheduled"), "row": row(DeliveryState.SCHEDULED)}, "scheduled"),
        ({"pending": pending("scheduled")}, "scheduled"),
        ({"pending": pending("blocked")}, "blocked"),
        ({"row": row(DeliveryState.PROCESSED)}, "processed"),
        ({"row": row(DeliveryState.SKIPPED)}, "skipped"),
        ({"row": row(DeliveryState.DEAD)}, "dead"),
        ({"run": run(PROCESSED)}, "processed"),
        ({"run": run(IGNORED)}, "ignored"),
        # It moved while it was read: the later reading counts.
        ({"ahead": True, "chunk": QUEUED_CHUNK}, "queued"),
        ({"ahead": True, "run": run(PROCESSED)}, "processed"),
        ({"chunk": RUNNING_CHUNK, "run": run(PROCESSED)}, "processed"),
        ({"chunk": RUNNING_CHUNK, "pending": pending("scheduled")}, "scheduled"),
        ({"chunk": RUNNING_CHUNK, "row": row(DeliveryState.DEAD)}, "dead"),
        ({"pending": pending("running:w1"), "row": row(DeliveryState.PROCESSED)}, "processed"),
        # A later life after a run.
        ({"run": run(PROCESSED), "pending": pending("scheduled")}, "scheduled"),
        ({"run": run(PROCESSED), "row": row(DeliveryState.DEAD)}, "dead"),
        # An exception of a chunk, whose own record decides.
        ({"run": run(EXCEPTION), "row": row(DeliveryState.SKIPPED)}, "skipped"),
        ({"run": run(EXCEPTION), "pending": pending("scheduled")}, "scheduled"),
        ({"run": run(EXCEPTION)}, "missing"),
        ({"run": run(EXCEPTION), "remembered": False}, "forgotten"),
        # Another entry of the event is under way.
        ({"ahead": True, "row": row(DeliveryState.RUNNING)}, "running"),
        # Nothing is stored.
        ({}, "missing"),
        ({"remembered": False}, "forgotten"),
        ({"trimmed": True}, "processed"),
        ({"trimmed": True, "remembered": False}, "forgotten"),
        ({"trimmed": True, "row": row(DeliveryState.RUNNING)}, "missing"),
        ({"repeats": True}, "ignored"),
        ({"repeats": True, "row": row(DeliveryState.PROCESSED)}, "processed"),
        ({"repeats": True, "chunk": RUNNING_CHUNK}, "running"),
        ({"remembered": False, "run": run(PROCESSED)}, "processed"),
        ({"subscribed": False}, None),
        ({"subscribed": False, "trimmed": True}, None),
        ({"subscribed": False, "run": run(IGNORED)}, "ignored"),
        ({"subscribed": False, "pending": pending("scheduled")}, "scheduled"),
        ({"subscribed": False, "row": row(DeliveryState.SCHEDULED)}, "missing"),
        # Unwanted.
        ({"wanted": False}, "ignored"),
        ({"wanted": False, "run": run(IGNORED)}, "ignored"),
        ({"wanted": False, "ahead": True}, None),
        ({"wanted": False, "chunk": RUNNING_CHUNK}, None),
        ({"wanted": False, "pending": pending("queued:w1")}, None),
        ({"wanted": False, "subscribed": False}, None),
        ({"wanted": False, "row": row(DeliveryState.PROCESSED)}, "processed"),
        (
            {"wanted": False, "row": row(DeliveryState.SCHEDULED), "pending": pending("scheduled")},
            "scheduled",
        ),
    ],
)  # fmt: skip
def test_the_state_follows_from_what_is_stored(given: dict[str, Any], state: str | None) -> None:
    assert state == delivery_state(Evidence(**given))
