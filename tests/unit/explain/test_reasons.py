"""Every reason why a handler did, or did not, get an event, on a real store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celeriac.explain import BusReader, CheckResult, Explanation, explain, gather, gather_unfound
from celeriac.store.redis.event_log import RedisEventLog
from celeriac.tracking import EventNotFound, Matrix
from tests.unit.explain import reasons
from tests.unit.explain.reasons import CHARGE, Asked
from tests.unit.tracking.shop import Shop

PASSED, FAILED = CheckResult.PASSED, CheckResult.FAILED
WAITING, UNKNOWN = CheckResult.WAITING, CheckResult.UNKNOWN

# situation, deciding check, its result, part of its text, part of its command
REASONS = [
    (reasons.never_emitted, "emitted", FAILED, "never emitted here, or trimmed", "retention"),
    (reasons.processed_and_trimmed, "processed", PASSED, "in attempt 2", ""),
    (reasons.not_registered, "registered", FAILED, "registered: billing.charge", "celery -A"),
    (reasons.removed, "removed", FAILED, "removed by an operator", "restart a worker"),
    (
        reasons.other_pattern,
        "pattern",
        FAILED,
        'segment 2 is "placed", the pattern wants "paid"',
        "@bus.on",
    ),
    (
        reasons.addressed_to_another,
        "addressed",
        FAILED,
        "addressed only to mail.send",
        "--handlers billing.charge",
    ),
    (
        reasons.registered_later,
        "subscribed",
        FAILED,
        "after the event (start=)",
        "celeriac replay billing.charge --since",
    ),
    (
        reasons.pattern_added_later,
        "subscribed",
        FAILED,
        "pattern order.placed was added",
        "celeriac replay",
    ),
    (reasons.duplicate, "duplicate", FAILED, "which is processed", "another id"),
    (reasons.rejected_by_when, "when", FAILED, "when= rejected it", "celeriac replay"),
    (reasons.skipped_by_its_handler, "skipped", FAILED, "the handler raised Skip", "replay"),
    (reasons.outside_of_its_share, "share", FAILED, "outside: order/1 is at 0.", "raise share="),
    (
        reasons.of_another_tenant,
        "tenant",
        FAILED,
        "tenant acme is not among globex, initech (tenants=)",
        "change tenants= of billing.charge",
    ),
    (reasons.without_a_tenant, "tenant", FAILED, "it has no tenant", "change tenants="),
    (reasons.unsigned, "signature", FAILED, "not signed", "CELERIAC_SIGNING_KEY"),
    (
        reasons.data_does_not_fit,
        "key",
        FAILED,
        "cannot be decrypted",
        "celeriac dead redrive order/",
    ),
    (reasons.paused, "paused", WAITING, "paused manually", "celeriac handlers resume"),
    (reasons.breaker_open, "paused", WAITING, "circuit breaker (open)", "celeriac handlers resume"),
    (
        reasons.behind_its_sequence,
        "sequence",
        WAITING,
        "waits for first of order/1",
        "celeriac explain first billing.charge",
    ),
    (
        reasons.concurrency_used_up,
        "concurrency",
        WAITING,
        "1 of concurrency=1 in flight: first, which is queued",
        "concurrency=",
    ),
    (reasons.rate_used_up, "rate", WAITING, "is reached; the next delivery in", "rate_limit="),
    (reasons.no_worker, "worker", WAITING, "no running worker of billing", "celery -A"),
    (
        reasons.no_worker_on_its_queue,
        "worker",
        WAITING,
        "no worker consumes the queue slow; consumed: billing, fast",
        "-Q slow",
    ),
    (reasons.not_in_the_code, "worker", WAITING, "in its code", "celeriac handlers remove"),
    (reasons.queued, "lease", WAITING, "lease until", ""),
    (reasons.running_elsewhere, "lease", WAITING, "attempt 1 runs on billing@", ""),
    (reasons.running_on_a_dead_worker, "lease", WAITING, "which has stopped; runs again", ""),
    (reasons.scheduled, "scheduled", WAITING, "after attempt 1: ValueError: declined", ""),
    (reasons.delayed, "delayed", WAITING, "is appended to the log at", ""),
    (reasons.not_fetched, "fetched", WAITING, "1 not fetched yet", ""),
    (
        reasons.dead,
        "dead",
        FAILED,
        "after 1 attempt: ValueError: declined",
        "celeriac dead redrive order/",
    ),
    (
        reasons.lost_its_group,
        "missing",
        FAILED,
        "was lost, and there is no record",
        "restart a worker",
    ),
    (reasons.forgotten, "forgotten", UNKNOWN, "the record has expired", "dedup_window"),
    (reasons.processed, "processed", PASSED, "in attempt 1", "celeriac replay"),
]


def explained(shop: Shop, asked: Asked) -> Explanation:
    event_id, handler, near = asked
    reading = BusReader(shop.backend, lease_ms=30_000)
    try:
        located = Matrix(shop.backend).find(event_id, near=near)
    except EventNotFound as error:
        [facts] = gather_unfound(reading, event_id, [handler], is_partial=error.is_partial)
    else:
        [facts] = gather(reading, located, [handler])
    return explain(facts)


@pytest.mark.parametrize(
    ("situation", "name", "result", "text", "remedy"),
    REASONS,
    ids=[situation.__name__ for situation, *_ in REASONS],
)
def test_each_reason_is_named_with_what_changes_it(
    shop: Shop,
    situation: Callable[[Shop], Asked],
    name: str,
    result: CheckResult,
    text: str,
    remedy: str,
) -> None:
    found = explained(shop, situation(shop))
    decision = found.decision
    assert (name, result) == (decision.name, decision.result), found.checks
    assert text in decision.text
    assert remedy in decision.remedy
    assert all(check.result is PASSED for check in found.checks[: found.deciding])


def test_checks_come_in_the_order_from_emit_to_processed(shop: Shop) -> None:
    found = explained(shop, reasons.processed(shop))
    names = [check.name for check in found.checks]
    assert ["emitted", "registered", "pattern", "addressed", "subscribed", "processed"] == names


def test_explaining_changes_nothing(shop: Shop) -> None:
    asked = reasons.behind_its_sequence(shop)
    before = Matrix(shop.backend).status(asked[0])
    rate = shop.backend.deliveries.rate_wait_ms(CHARGE, 1.0)
    assert explained(shop, asked).checks
    assert before.cells == Matrix(shop.backend).status(asked[0]).cells
    assert rate == shop.backend.deliveries.rate_wait_ms(CHARGE, 1.0) == 0


@pytest.mark.parametrize("garbage", [b"\xff\x00", b"", b"7"])
def test_unreadable_records_of_a_sequence_are_skipped(shop: Shop, garbage: bytes) -> None:
    asked = reasons.behind_its_sequence(shop)
    if isinstance(shop.backend.event_log, RedisEventLog):
        keys, client = shop.backend.event_log.keys, shop.backend.event_log.client
        keyed, blocked, *_ = keys.of_flow("order", CHARGE)
        client.hset(keyed, b"\xff", garbage)
        client.zadd(blocked, {b"\xff" + garbage: 0})
        client.set(f"{keys.rate(CHARGE)}tat", garbage)
    assert "sequence" == explained(shop, asked).decision.name
    assert 0 <= shop.backend.deliveries.rate_wait_ms(CHARGE, 1.0)


def test_of_many_handlers_what_they_share_is_read_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(30):
        shop.on(f"service{n % 3}.handler{n}", "order.*")
    shop.start()
    id = shop.emit("order.placed")
    shop.run_until_idle()
    calls: list[str] = []
    for owner, name in ((shop.backend.registry, "handlers"), (shop.backend.registry, "workers"),
                        (shop.backend.event_log, "groups")):  # fmt: skip
        real = getattr(owner, name)

        def counted(*args: object, name: str = name, real: Callable[..., Any] = real) -> Any:
            calls.append(name)
            return real(*args)

        monkeypatch.setattr(owner, name, counted)
    reading = BusReader(shop.backend, lease_ms=30_000)
    found = gather(reading, Matrix(shop.backend).find(id), reading.names)
    assert 30 == len(found)
    assert {"processed"} == {explain(facts).decision.name for facts in found}
    assert calls.count("workers") == 1
    assert calls.count("groups") <= 3
