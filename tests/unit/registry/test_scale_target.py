"""Since when the workers that an autoscaler should run do not run."""

from __future__ import annotations

from typing import Any

from celeriac.registry import ScaleTargetRecord, note_answer, targets_of
from celeriac.registry.scale_target import ACTIVE_WITHIN_MS


def record(**given: Any) -> ScaleTargetRecord:
    return ScaleTargetRecord(
        **{"service": "billing", "cooldown": 300.0, "workers": 1, "requested_ms": 1000, **given}
    )


def test_it_begins_with_the_first_answer_and_continues() -> None:
    first = note_answer(None, record(), is_running=False)
    assert first.unmet_since_ms == 1000
    second = note_answer(first, record(requested_ms=16_000, workers=3), is_running=False)
    assert (second.unmet_since_ms, second.workers) == (1000, 3)


def test_it_ends_with_a_worker_and_when_none_is_wanted() -> None:
    unmet = note_answer(None, record(), is_running=False)
    assert note_answer(unmet, record(requested_ms=2000), is_running=True).unmet_since_ms is None
    idle = note_answer(unmet, record(requested_ms=2000, workers=0), is_running=False)
    assert idle.unmet_since_ms is None
    again = note_answer(idle, record(requested_ms=3000), is_running=False)
    assert again.unmet_since_ms == 3000


def test_after_a_pause_of_the_questions_it_begins_again() -> None:
    unmet = note_answer(None, record(), is_running=False)
    later = 1000 + ACTIVE_WITHIN_MS + 1
    assert note_answer(unmet, record(requested_ms=later), is_running=False).unmet_since_ms == later


def test_targets_are_those_of_the_service_of_the_autoscaler() -> None:
    now = 10 * ACTIVE_WITHIN_MS
    records = [
        record(requested_ms=now),
        record(queue="slow", requested_ms=now - ACTIVE_WITHIN_MS),
        record(queue="old", requested_ms=now - ACTIVE_WITHIN_MS - 1),
        record(service="mail", requested_ms=now),
    ]
    assert [each.name for each in targets_of(records, "billing", now)] == [
        "billing", "billing:slow",
    ]  # fmt: skip
