"""The page of contracts: each event's data, its readers, and the readers that break."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from celeriac.contract.lock import LockedContract, LockedReader
from celeriac.contract.normal_form import digest
from celeriac.contract.schema import read_schema, written_schema
from celeriac.registry import WorkerRecord
from celeriac.settings import Settings
from tests.browser.flower import Flower, shop_of
from tests.browser.story import tell

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = '<img src=x onerror="document.title=1">'


class Cents(msgspec.Struct):
    number: int
    cents: int


class Amount(msgspec.Struct):
    number: int
    amount: float
    currency: str = "EUR"


def locked(model: Any, version: int, **more: Any) -> LockedContract:
    schema = written_schema(model)
    return LockedContract(version=version, digest=digest(schema), schema=schema, **more)


@pytest.fixture(scope="module", autouse=True)
def declared(watched: Settings) -> None:
    """Two versions of one event, one reader of each, and a deprecated event."""
    pytest.importorskip("jsoncompat")
    shop = shop_of(watched)
    tell(shop, orders=8)
    old = LockedReader(
        patterns=("order.placed",), versions={"order.placed": 1}, schema=read_schema(Cents)
    )
    new = LockedReader(
        patterns=("order.placed",),
        versions={"order.placed": 2},
        upcasts={"order.placed": (1,)},
        schema=read_schema(Amount),
    )
    backend = shop.backend
    backend.contracts.declare(
        "orders",
        {
            "order.placed": [locked(Cents, 1), locked(Amount, 2, owner="orders", doc="A sale.")],
            "order.noted": [locked(Cents, 1, deprecated=HOSTILE)],
        },
        {"billing.charge_card": old, "analytics.count_events": new},
    )
    for handler, reads in (("billing.charge_card", old), ("analytics.count_events", new)):
        service = handler.partition(".")[0]
        backend.registry.heartbeat(
            WorkerRecord(
                name=f"{service}@host",
                service=service,
                hostname="host",
                pid=1,
                pool="prefork",
                processes=2,
                queues=(service,),
                handlers=(handler,),
                version="1",
                reads={handler: reads.digest},
            )
        )


def test_a_handler_that_cannot_read_the_newest_version_is_shown_with_data(page: Page) -> None:
    page.goto("/contracts")
    page.get_by_text("Live", exact=True).wait_for()
    card = page.locator('section[data-key="order.placed"]')
    assert "v2" in card.locator("header").inner_text()
    assert "by orders" in card.locator("header").inner_text()
    broken = card.locator("tr", has_text="billing.charge_card")
    assert "breaks" in broken.inner_text()
    assert "'cents' is a required property" in broken.inner_text()
    assert '"amount":19.9' in broken.inner_text()
    assert "reads it" in card.locator("tr", has_text="analytics.count_events").inner_text()
    # it comes first
    assert "order.placed" == page.locator("section[data-key]").first.get_attribute("data-key")


def test_one_event_has_its_fields_changes_and_an_example(page: Page) -> None:
    page.goto("/contracts")
    page.get_by_role("link", name="order.placed", exact=True).click()
    page.wait_for_url(re.compile(r"type=order\.placed"))
    text = page.locator('section[data-key="order.placed"]').inner_text()
    assert "field cents removed; field amount added: number; field currency added: string" in text
    assert '"currency": "text"' in text


def test_what_people_wrote_is_text(page: Page) -> None:
    page.goto("/contracts?type=order.noted")
    assert HOSTILE in page.locator('section[data-key="order.noted"]').inner_text()
    assert "1" != page.title()


def test_the_page_fits_a_phone(browser: Browser, flower: Flower, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/contracts")
    page.locator('section[data-key="order.placed"]').wait_for()
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    cut = "[...document.querySelectorAll('.cl-scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{cut}.length") == 0
