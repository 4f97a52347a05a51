"""Answers for autoscalers."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from celeriac.errors import BusUnavailable, NotFound
from celeriac.scale.answers import ScaleAnswers
from celeriac.scale.question import ScaleQuestion
from tests.unit.tracking.shop import Shop

BILLING = ScaleQuestion(service="billing")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_is_reused_for_a_second(shop: Shop) -> None:
    clock = Clock()
    answers = ScaleAnswers(shop.backend, shop.settings, clock)
    shop.on("billing.charge", "order.placed")
    shop.start()
    assert answers.answer(BILLING).workers == 0
    shop.emit("order.placed")
    clock.now += 0.9
    assert answers.answer(BILLING).workers == 0
    clock.now += 0.2
    assert answers.answer(BILLING).workers == 1


def test_other_questions_have_answers_of_their_own(shop: Shop) -> None:
    answers = ScaleAnswers(shop.backend, shop.settings, Clock())
    shop.on("billing.charge", "order.placed")
    shop.start()
    shop.emit("order.placed")
    queue = ScaleQuestion(service="billing", queue="other")
    assert [answers.answer(question).workers for question in (BILLING, queue)] == [1, 0]


def test_questions_are_on_the_bus_unless_no_handler_has_the_queue(shop: Shop) -> None:
    """Otherwise, clients of a gateway could add any number of records."""
    answers = ScaleAnswers(shop.backend, shop.settings, Clock())
    shop.on("billing.charge", "order.placed")
    shop.start()
    for queue in ("", "other", "\0", "x" * 5000, None, "billing"):
        answers.answer(ScaleQuestion(service="billing", queue=queue))
    assert sorted(shop.backend.registry.scale_targets()) == ["billing", "billing:billing"]


def test_an_unreachable_redis_is_reported_and_not_remembered(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ScaleAnswers(shop.backend, shop.settings, Clock())
    shop.on("billing.charge", "order.placed")
    shop.start()

    def refuse(*_: Any) -> None:
        raise redis.ConnectionError("refused")

    with monkeypatch.context() as down:
        down.setattr(shop.backend.registry, "workers", refuse)
        with pytest.raises(BusUnavailable, match="CELERIAC_REDIS_URL"):
            answers.answer(BILLING)
    assert answers.answer(BILLING).workers == 0


def test_an_unknown_service_is_not_remembered(shop: Shop) -> None:
    answers = ScaleAnswers(shop.backend, shop.settings, Clock())
    with pytest.raises(NotFound):
        answers.answer(BILLING)
    shop.on("billing.charge", "order.placed")
    shop.start()
    assert answers.answer(BILLING).workers == 0
