"""Dead letters in pages and batches: bounded reading, over domains, and never twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from celeriac import transfer
from celeriac.dead_letter import (
    Choice,
    Note,
    audit_log,
    batch,
    count_batch,
    dead_page,
    discard_batch,
    page,
    redrive_batch,
)
from celeriac.delivery import DeadLetter, Group
from celeriac.settings import Settings
from celeriac.store.factory import Backend
from tests.unit.tracking.backend import backend as backend
from tests.unit.tracking.shop import Shop


class Boom(Exception):
    pass


def fail(event: object) -> None:
    raise Boom(event)


@pytest.fixture
def shop(backend: Backend) -> Shop:
    """Nine dead letters in three domains, of two handlers."""
    shop = Shop(backend, Settings.load({}))
    shop.on("billing.charge", "order.*", "payment.*", function=fail, retries=0)
    shop.on("mail.send", "user.*", function=lambda event: 1 // 0, retries=0)
    shop.start()
    for n in range(3):
        for type in ("order.placed", "payment.failed", "user.joined"):
            shop.emit(type, id=f"{type}.{n}")
    shop.run_until_idle()
    return shop


def ids(letters: tuple[DeadLetter, ...]) -> list[str]:
    return [letter.event_id for letter in letters]


def test_pages_go_back_over_all_domains(shop: Shop) -> None:
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = dead_page(shop.backend, Choice(), before=cursor, limit=2)
        seen += ids(page.dead_letters)
        cursor = page.older
    assert 9 == len(seen) == len(set(seen))


def test_a_page_has_the_time_that_its_search_reached(shop: Shop) -> None:
    page = dead_page(shop.backend, Choice(error="nowhere"), max_read=4)
    assert () == page.dead_letters
    assert page.older and page.searched_ms
    rest = dead_page(shop.backend, Choice(error="nowhere"), before=page.older)
    assert (None, None) == (rest.older, rest.searched_ms)


def test_a_group_is_counted_and_redriven(shop: Shop) -> None:
    choice = Choice(handler="billing.charge", exception="Boom")
    assert (6, 0, True) == (
        (counted := count_batch(shop.backend, choice)).chosen, counted.done, counted.end
    )  # fmt: skip
    records = shop.backend.registry.handlers()
    note = Note(actor="ada", did="redrive", what="them", operation="1").encode()
    did = redrive_batch(shop.backend, records, choice, note=note)
    assert (6, 6, 0, True) == (did.chosen, did.done, did.refused, did.end)
    assert 0 == count_batch(shop.backend, choice).chosen
    assert 3 == count_batch(shop.backend, Choice()).chosen
    [act] = audit_log(shop.backend)
    assert ("ada", "redrive", "them", 6) == (act.note.actor, act.note.did, act.note.what, act.count)


def test_dead_letters_that_arrive_later_are_excluded(shop: Shop) -> None:
    until = max(letter.last_failed_ms for letter in dead_page(shop.backend, Choice()).dead_letters)
    choice = Choice(handler="mail.send", until_ms=until)
    records = shop.backend.registry.handlers()
    first = redrive_batch(shop.backend, records, choice)
    while shop.backend.registry.now_ms() <= until:
        shop.backend.event_log.clock.advance(1)  # type: ignore[attr-defined]
    shop.run_until_idle()
    assert 3 == first.done
    assert 3 == count_batch(shop.backend, Choice(handler="mail.send")).chosen
    assert 0 == redrive_batch(shop.backend, records, choice).chosen


def test_batches_are_short_and_continue_where_the_last_ended(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "READ", 2)
    done, after, steps = 0, "", 0
    while True:
        step = discard_batch(shop.backend, Choice(handler="billing.charge"), after)
        done, after, steps = done + step.done, step.after, steps + 1
        if step.end:
            break
    assert (6, 3) == (done, count_batch(shop.backend, Choice()).chosen)
    assert steps > 2


def test_those_of_a_handler_that_was_removed_are_refused(shop: Shop) -> None:
    records = {"mail.send": shop.backend.registry.handlers()["mail.send"]}
    did = redrive_batch(shop.backend, records, Choice())
    assert (9, 3, 6) == (did.chosen, did.done, did.refused)
    assert ("no handler billing.charge (any more)",) == did.faults


def test_a_note_that_cannot_be_read_is_shown_as_it_is(shop: Shop) -> None:
    shop.backend.deliveries.record("order", b"\xff not json")
    [act] = audit_log(shop.backend)
    assert "not json" in act.note.what
    assert msgspec.json.encode(act)


def test_a_step_names_what_it_concerns_by_handler_type_and_exception(shop: Shop) -> None:
    """Counting before an act and the act itself name the same."""
    charge, send = ("billing.charge", "Boom"), ("mail.send", "ZeroDivisionError")
    expected = {
        (handler, type, exception): 3
        for (handler, exception), type in [
            (charge, "order.placed"), (charge, "payment.failed"), (send, "user.joined")
        ]
    }  # fmt: skip
    assert expected == count_batch(shop.backend, Choice()).groups
    assert expected == discard_batch(shop.backend, Choice()).groups
    assert {} == count_batch(shop.backend, Choice()).groups


def test_large_letters_are_redriven_a_few_at_a_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One script gets no more bytes than it can carry out in a short time."""
    moved: list[int] = []
    redrive = shop.backend.deliveries.redrive

    def watched(
        group: Group, letters: Sequence[tuple[DeadLetter, bytes]], note: bytes = b""
    ) -> int:
        moved.append(sum(len(addressed) for _, addressed in letters))
        return redrive(group, letters, note)

    monkeypatch.setattr(shop.backend.deliveries, "redrive", watched)
    monkeypatch.setattr(transfer, "PAGE_BYTES", 400)
    records = shop.backend.registry.handlers()
    assert 9 == redrive_batch(shop.backend, records, Choice()).done
    assert 3 < len(moved) < 9 and max(moved) <= 400


def test_large_letters_are_read_a_few_at_a_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    dead = shop.backend.deliveries.dead

    def watched(domain: str, **options: Any) -> list[DeadLetter]:
        found = dead(domain, **options)
        read.append(sum(len(letter.event) for letter in found))
        return found

    monkeypatch.setattr(shop.backend.deliveries, "dead", watched)
    monkeypatch.setattr(batch, "FIRST_PAGE", 1)
    monkeypatch.setattr(page, "FIRST_PAGE", 1)
    monkeypatch.setattr(transfer, "PAGE_BYTES", 1)
    assert 9 == count_batch(shop.backend, Choice()).chosen
    assert 9 == len(dead_page(shop.backend, Choice()).dead_letters)
    assert 18 == sum(size > 0 for size in read)


def remaining(backend: Backend, choice: Choice) -> set[str]:
    return {*ids(dead_page(backend, choice).dead_letters)}


def test_dead_letters_of_a_tenant_are_chosen_and_redriven_alone(backend: Backend) -> None:
    shop = Shop(backend, Settings.load({}))
    shop.on("billing.charge", "order.*", function=fail, retries=0)
    shop.start()
    for n, tenant in enumerate(("acme", "globex", None, "acme")):
        shop.emit("order.placed", id=f"order.{n}", tenant=tenant)
    shop.run_until_idle()
    choice = Choice(tenant="acme")
    assert remaining(backend, choice) == {"order.3", "order.0"}
    assert count_batch(backend, choice).chosen == 2
    redriven = redrive_batch(backend, backend.registry.handlers(), choice)
    assert (redriven.chosen, redriven.done) == (2, 2)
    assert remaining(backend, Choice()) == {"order.2", "order.1"}
    discarded = discard_batch(backend, Choice(tenant="globex"))
    assert discarded.done == 1
    assert remaining(backend, Choice()) == {"order.2"}
