"""The pictures of Flower, in Chromium."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from devtools.pictures.shop import RunningShop

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WIDTH, HEIGHT = 1280, 800
SCROLL_TO_PAYMENTS = """matrix => {
    const first = matrix.querySelector("thead [data-key^='payment.']");
    matrix.scrollLeft = first.offsetLeft - matrix.querySelector(".cl-corner").offsetWidth;
}"""


def photograph(shop: RunningShop, event_id: str, images: Path) -> Iterator[Path]:
    """Write a picture of each page of Flower. `event_id` names an event that was retried."""

    def save(page: Page, name: str, *, full_page: bool = False) -> Path:
        page.locator(".cl-nav-count").wait_for()
        page.wait_for_function("[...document.images].every(image => image.complete)")
        path = images / f"flower-{name}.png"
        page.screenshot(path=path, full_page=full_page, animations="disabled")
        return path

    with _browser(shop) as page:
        page.goto("/")
        page.locator("table tbody tr", has_text="billing@").first.wait_for()
        page.locator(".cl-home a", has_text="Dead letters").wait_for()
        yield save(page, "front", full_page=True)
        page.goto("/events?type=payment.requested")
        # a page that is live: wait until the payment with an unknown card is among the first rows
        page.locator("tbody tr:nth-child(-n+6)", has_text="dead").first.wait_for(timeout=60_000)
        yield save(page, "events")
        page.goto(f"/event/{event_id}")
        page.get_by_text("GatewayDown").first.wait_for()
        yield save(page, "event", full_page=True)
        page.goto("/services")
        page.get_by_text("send_parcel").first.wait_for()
        yield save(page, "services", full_page=True)
        page.goto("/dead")
        page.get_by_role("row", name=re.compile("UnknownCard")).get_by_role(
            "link", name="Inspect"
        ).click()
        page.get_by_text("Traceback and event").first.click()
        yield save(page, "dead")
        page.goto("/dead?handler=billing.charge_card")
        page.get_by_role("button", name="Redrive all of these").click()
        page.get_by_role("dialog").get_by_role("button", name="Redrive").wait_for()
        yield save(page, "redrive")
        page.emulate_media(color_scheme="dark")
        page.goto("/matrix")
        page.get_by_text("send_parcel").first.wait_for()
        # The columns after those of order.*, which few handlers want.
        page.locator(".cl-scroll").evaluate(SCROLL_TO_PAYMENTS)
        yield save(page, "matrix", full_page=True)


@contextmanager
def _browser(shop: RunningShop) -> Iterator[Page]:
    executable = os.environ.get("CELERIAC_CHROMIUM") or shutil.which("chromium")
    if not executable:
        raise FileNotFoundError("Chromium is not installed: install it, or set CELERIAC_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        context = browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            http_credentials={"username": shop.user, "password": shop.password},
            base_url=shop.flower,
            color_scheme="light",
            locale="en-GB",
            timezone_id="UTC",
        )
        page = context.new_page()
        page.set_default_timeout(60_000)  # on a machine that is busy
        yield page
        browser.close()
