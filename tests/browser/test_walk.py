"""A new user's walk: which orders failed, why, where, how often; fix it, redrive, see it green."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from celeriac.settings import Settings
from tests.browser.flower import shop_of
from tests.browser.story import Repaired, settle, tell
from tests.unit.tracking.shop import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def shop(watched: Settings) -> Iterator[Shop]:
    """A shop whose billing does not know the cards of four customers of thirty."""
    made = shop_of(watched)
    tell(made)
    try:
        yield made
    finally:
        Repaired.done = False


LONGEST = """() => {
    const row = document.querySelector(".cl-events tbody tr");
    const state = row.querySelector(".cl-a-state"), age = row.querySelector("td.cl-num");
    state.querySelector(".cl-badge").textContent = "no handler";
    age.textContent = "119 min ago";
    const count = document.querySelector(".cl-nav-count");
    count.hidden = false;
    count.textContent = "12";
    const cut = [state, age].filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText);
    return [cut, document.querySelector(".navbar").offsetHeight];
}"""


def test_from_the_first_page_to_green(page: Page, shop: Shop) -> None:
    # Flower's home page shows the problem and links to it.
    page.goto("/")
    card = page.locator(".cl-home").get_by_role("link", name=re.compile(r"Dead letters\s+4"))
    card.wait_for()
    page.locator(".cl-nav-count", has_text="4").wait_for()
    card.click()

    # In which handler, with which error, how many.
    row = page.get_by_role("row", name=re.compile(r"4 billing\.charge_card UnknownCard"))
    row.wait_for()

    # Which orders, why, after how many attempts.
    row.get_by_role("link", name="Inspect").click()
    page.wait_for_url(re.compile("exception=UnknownCard"))
    letters = page.locator(".cl-letter")
    assert 4 == letters.count()
    for order in (7, 14, 21, 28):
        letter = letters.filter(has_text=f"order/{order} ")
        assert f"UnknownCard: no card on file for order {order}" in letter.inner_text()
        assert "3 attempts" in letter.inner_text()
    first = letters.filter(has_text="order/7 ")
    first.get_by_text("Traceback and event").click()
    assert first.get_by_text("raise UnknownCard").is_visible()

    # The event itself: the others have done their part.
    first.get_by_role("link", name="order.placed").click()
    page.get_by_text("2 of 3 done").wait_for()
    page.go_back()

    # The cause is fixed, and the group is redriven.
    Repaired.done = True
    page.get_by_role("button", name="Redrive all of these").click()
    page.locator(".cl-dialog-count", has_text="4 dead letters").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Redrive").click()
    page.locator(".toast-body", has_text="Redriven 4 dead letters").wait_for()
    page.get_by_text("There are no dead letters").wait_for()
    settle(shop)

    # Green: on the event, on the page of dead letters, on the first page.
    page.goto("/events?subject=order/7&type=order.placed")
    page.locator("tr", has_text="order/7").first.get_by_text("processed").wait_for()

    # At 1280 pixels, the longest state and age are not cut, and the navigation is one line.
    heights = []
    for width in (1280, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        cut, height = page.evaluate(LONGEST)
        assert [] == cut
        heights.append(height)
    assert heights[0] == heights[1]
    page.goto("/dead")
    page.get_by_text("A delivery becomes a dead letter").wait_for()
    page.goto("/")
    page.locator(".cl-home").get_by_text("none", exact=True).wait_for()
    assert page.locator(".cl-nav-count").is_hidden()

    # And it is written who did it.
    page.goto("/audit")
    page.get_by_role("row", name=re.compile(r"ada redrive 4 .*billing\.charge_card")).wait_for()
