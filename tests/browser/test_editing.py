"""Editing a dead letter in Flower: a right of its own, and values that stay masked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from celeriac.contract import schema_uri
from celeriac.contract.lock import LockedContract
from celeriac.contract.normal_form import digest
from celeriac.contract.schema import written_schema
from celeriac.dead_letter import audit_log
from celeriac.delivery import DeadLetter
from celeriac.event import decode
from celeriac.settings import Settings
from tests.browser.flower import Flower, shop_of
from tests.unit.tracking.shop import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route


class Refund(msgspec.Struct):
    currency: str
    cents: int


def charge(event: Any) -> None:
    if event.data.get("currency") != "EUR":
        raise ValueError("unknown currency")


@pytest.fixture(scope="module")
def flower(watched: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    """One in which ada may edit."""
    started = Flower(
        watched,
        tmp_path_factory.mktemp("flower"),
        options=("--basic-auth=ada:secret,bob:secret",),
        environment={"CELERIAC_FLOWER_EDITORS": "ada"},
    )
    try:
        yield started.start()
    finally:
        started.stop()


@pytest.fixture(scope="module")
def shop(watched: Settings) -> Shop:
    made = shop_of(watched)
    made.on("billing.charge", "order.placed", retries=0, function=charge)
    made.on("billing.refund", "order.refunded", retries=0, function=charge)
    made.on("mail.send", "order.placed")
    made.start()
    return made


def die(shop: Shop, **given: Any) -> DeadLetter:
    """A new dead letter of billing.charge, with a card that is sensitive."""
    data = {"currency": "EURO", "card": "tok_4242"}
    shop.emit("order.placed", data, sensitive=["card"], subject="order/1", **given)
    shop.run_until_idle()
    return shop.backend.deliveries.dead("order", newest_first=True)[0]


def edit(flower: Flower, letter: DeadLetter, change: Any, user: str = "ada") -> Any:
    document = {**json.loads(letter.event), **change}
    body = json.dumps({"dead_letter": f"order/{letter.id}", "document": json.dumps(document)})
    return flower.act("edit", body.encode(), user=f"{user}:secret")


def newest(shop: Shop) -> Any:
    return decode(shop.backend.event_log.read("order", newest_first=True)[0].body or b"")


def test_a_letter_is_edited_and_its_history_leads_to_the_new_event(page: Page, shop: Shop) -> None:
    letter = die(shop)
    page.goto("/dead?handler=billing.charge")
    page.locator(f'[data-key="order/{letter.id}"]').get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit?")
    editor = dialog.get_by_label("The event")
    text = editor.input_value()
    assert "tok_4242" not in text and '"card": "***"' in text
    editor.fill(text.replace("EURO", 'EUR"'))
    dialog.get_by_role("button", name="Edit").click()
    dialog.get_by_text("the edited event is not valid JSON").wait_for()
    editor.fill(text.replace("EURO", "EUR"))
    dialog.get_by_placeholder("Reason").fill("a typing error")
    dialog.get_by_role("button", name="Edit").click()
    dialog.wait_for(state="detached")
    shop.run_until_idle()
    edited = newest(shop)
    assert {"currency": "EUR", "card": "tok_4242"} == json.loads(bytes(edited.data))
    assert 0 == shop.backend.deliveries.dead_count("order")
    page.goto(f"/event/{letter.event_id}")
    part = page.locator('[data-key="billing.charge"].cl-part')
    part.get_by_text("edit by ada in flower: a typing error").wait_for()
    part.get_by_role("link", name="the edited event").click()
    page.get_by_text(edited.id).first.wait_for()
    page.locator('[data-key="billing.charge"].cl-part').get_by_text("processed").first.wait_for()
    page.goto("/audit")
    row = page.get_by_role("row", name="ada edit")
    row.locator("summary").click()
    row.get_by_text('"/data/currency"').wait_for()
    assert "tok_" not in row.inner_text()


def test_from_an_order_that_was_not_charged_to_its_history(page: Page, shop: Shop) -> None:
    """A user's walk: find the order, see why, correct its data, see what happened."""
    letter = die(shop)
    page.goto("/events?subject=order/1&state=dead")
    row = page.locator("tr", has_text="order/1").first
    row.get_by_role("link", name="order.placed").click()
    page.get_by_text(letter.event_id).first.wait_for()
    part = page.locator('[data-key="billing.charge"].cl-part')
    part.get_by_role("link", name="Why").click()

    # Why it was not charged.
    deciding = page.locator('.cl-check[aria-current="true"]')
    deciding.get_by_text("ValueError: unknown currency").wait_for()
    assert 1 == deciding.count()

    # The event has the way on.
    page.get_by_role("link", name="Redrive or edit").click()
    part.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit?")
    editor = dialog.get_by_label("The event")
    text = editor.input_value()
    assert "tok_4242" not in text
    editor.fill(text.replace("EURO", "EUR"))
    dialog.get_by_placeholder("Reason").fill("currency code")
    dialog.get_by_role("button", name="Edit").click()
    dialog.wait_for(state="detached")
    shop.run_until_idle()

    # The history is on the same page, and leads to the edited event.
    part.get_by_text("edit by ada in flower: currency code").wait_for()
    part.get_by_text("ValueError: unknown currency").first.wait_for()
    assert 0 == part.get_by_role("button", name="Edit").count()
    part.get_by_role("link", name="the edited event").click()
    edited = newest(shop)
    page.get_by_text(edited.id).first.wait_for()
    page.locator('[data-key="billing.charge"].cl-part').get_by_text("processed").first.wait_for()


def test_no_click_is_lost_while_the_script_is_loading(page: Page, shop: Shop) -> None:
    letter = die(shop)

    def late(route: Route) -> None:
        time.sleep(0.5)
        route.continue_()

    page.route("**/celeriac.js*", late)
    page.goto(f"/event/{letter.event_id}", wait_until="commit")
    part = page.locator('[data-key="billing.charge"].cl-part')
    part.get_by_role("button", name="Edit").click()
    page.get_by_role("dialog", name="Edit?").wait_for()


def test_data_that_does_not_match_its_contract_is_refused_in_the_dialog(
    page: Page, flower: Flower, shop: Shop
) -> None:
    """By the contract that another service registered: Flower has no code of it."""
    schema = written_schema(Refund)
    locked = LockedContract(version=2, digest=digest(schema), owner="orders", schema=schema)
    shop.backend.contracts.declare("orders", {"order.refunded": [locked]}, {})
    data = {"currency": "EURO", "cents": 5}
    shop.emit("order.refunded", data, dataschema=schema_uri("order.refunded", 2))
    shop.run_until_idle()
    letter = shop.backend.deliveries.dead("order", newest_first=True)[0]
    page.goto(f"/event/{letter.event_id}")
    page.get_by_role("link", name="urn:celeriac:order.refunded:2").wait_for()
    page.locator('[data-key="billing.refund"].cl-part').get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit?")
    editor = dialog.get_by_label("The event")
    text = editor.input_value()
    editor.fill(text.replace('"cents": 5', '"cents": "4111"'))
    dialog.get_by_role("button", name="Edit").click()
    reason = "the edited data does not match version 2 of order.refunded, which orders registered"
    dialog.get_by_text(f"{reason}: data.cents: expected integer, got string").wait_for()
    assert letter in shop.backend.deliveries.dead("order")
    editor.fill(text.replace("EURO", "EUR"))
    dialog.get_by_role("button", name="Edit").click()
    dialog.wait_for(state="detached")
    shop.run_until_idle()
    assert {"currency": "EUR", "cents": 5} == json.loads(bytes(newest(shop).data))
    assert letter not in shop.backend.deliveries.dead("order")


def test_only_named_users_may_edit(flower: Flower, shop: Shop) -> None:
    letter = die(shop)
    refused = edit(flower, letter, {"data": {"currency": "EUR"}}, user="bob")
    assert 403 == refused.status
    assert "to add you to CELERIAC_FLOWER_EDITORS" in json.loads(refused.text)["error"]
    path = "/dead?handler=billing.charge"
    assert 'data-verb="Edit"' not in flower.ask(path, user="bob:secret").text
    assert 'data-verb="Edit"' in flower.ask(path, user="ada:secret").text
    path = f"/event/{letter.event_id}"
    assert 'data-verb="Edit"' not in flower.ask(path, user="bob:secret").text
    assert 'data-verb="Edit"' in flower.ask(path, user="ada:secret").text
    assert letter in shop.backend.deliveries.dead("order")
    assert 401 == flower.act("edit", user="").status
    assert 403 == flower.act("edit", user="ada:secret", Sec_Fetch_Site="cross-site").status


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "x"}, "an edit cannot change id"),
        ({"source": "elsewhere"}, "an edit cannot change source"),
        ({"subject": 7}, "subject"),
    ],
)
def test_a_bad_edit_is_refused(
    flower: Flower, shop: Shop, change: dict[str, Any], message: str
) -> None:
    letter = die(shop)
    answer = edit(flower, letter, change)
    assert 400 == answer.status
    assert message in json.loads(answer.text)["error"]
    assert letter in shop.backend.deliveries.dead("order")


def test_what_is_encrypted_cannot_be_edited(flower: Flower, shop: Shop) -> None:
    shop.emit("order.placed", {"x": 1}, datacontenttype="application/jose+json")
    shop.run_until_idle()
    letter = shop.backend.deliveries.dead("order", newest_first=True)[0]
    answer = edit(flower, letter, {"data": {"currency": "EUR"}})
    assert 400 == answer.status
    assert "is encrypted and cannot be edited" in json.loads(answer.text)["error"]


def test_editing_a_dead_letter_that_no_longer_exists_is_reported(
    flower: Flower, shop: Shop
) -> None:
    letter = die(shop)
    assert 1 == json.loads(edit(flower, letter, {"data": {"currency": "EUR"}}).text)["done"]
    before = len(audit_log(shop.backend))
    assert 1 == json.loads(edit(flower, letter, {"data": {"currency": "EUR"}}).text)["gone"]
    assert before == len(audit_log(shop.backend))
