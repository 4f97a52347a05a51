"""What strangers write: markup in every field is text, and a page of another site does nothing."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import pytest

from celeriac.dead_letter import Note
from celeriac.settings import Settings
from tests.browser.flower import PASSWORD, USER, Flower, shop_of
from tests.unit.tracking.shop import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

XSS = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}{% raw x %}</time>"
ID = "x\"'><svg onload=alert(3)>/../%2e%00\u202e?a=b&c#d"
# Attacks with the browser of a logged-in user.
EVIL = (Path(__file__).parent / "app" / "evil.js").read_text()
TOKEN = "<b>secret</b>-4242"


class Hostile(Exception):
    pass


def refuse(event: Any) -> None:
    raise Hostile(XSS)


@pytest.fixture(scope="module")
def shop(watched: Settings) -> Shop:
    """Emit events with hostile texts, one that fails permanently, and invalid entries."""
    made = shop_of(watched)
    made.on("billing.charge", "order.#", function=refuse, retries=1, backoff=0.0)
    made.on("mail.send", "order.#")
    made.start()
    made.emit(
        "order.placed", {"note": XSS, XSS: [XSS], "password": TOKEN}, id=ID, subject=XSS,
        source="urn:x", correlationid=ID, causationid=ID + "-cause", sensitive=["password"],
    )  # fmt: skip
    made.emit("order.text", XSS, subject=XSS)
    foreign = {
        "specversion": "1.0", "id": XSS, "source": XSS, "type": "order.foreign", "subject": XSS,
        "datacontenttype": "text/html", "data": XSS,
    }  # fmt: skip
    made.backend.event_log.append("order", msgspec.json.encode(foreign))
    made.backend.event_log.append("order", XSS.encode())
    made.backend.event_log.append("order", b"\xff\xfe not json")
    for _ in range(4):
        made.run_until_idle()
    made.backend.circuits.pause("mail.send", reason=XSS)
    made.backend.deliveries.record("order", Note(actor=XSS, did=XSS, what=XSS, via=XSS).encode())
    made.backend.deliveries.record("order", XSS.encode())
    return made


def check(page: Page) -> None:
    """Nothing that a stranger wrote became an element, or an attribute that runs."""
    assert 0 == page.locator("img[src=x], [onerror], [onload], main script").count()


def test_markup_in_any_field_is_shown_as_it_is(page: Page, shop: Shop) -> None:
    """A dialog, or an error in a script, fails the test: see the fixture."""
    paths = [
        "/events", "/matrix", "/services", "/dead", "/audit", "/dead?handler=billing.charge",
        "/dead?error=img", "/", "/explain?type=order.placed", f"/explain?event={quote(ID)}",
        f"/explain?event={quote(ID)}&handler=mail.send", f"/explain?event=x&handler={quote(XSS)}",
    ]  # fmt: skip
    for path in paths:
        page.goto(path)
        page.wait_for_timeout(150)
        check(page)
    page.goto("/events")
    shown = page.locator(".cl-events").inner_text()
    assert "onerror=alert(1)" in shown and "{{7*7}}" in shown
    page.locator("tr", has_text="x\"'>").first.get_by_role("link").click()
    page.get_by_label("Data").wait_for()
    page.wait_for_load_state()
    check(page)
    assert "onerror=alert(1)" in page.get_by_label("Data").inner_text()
    assert "Hostile" in page.locator(".cl-error").first.inner_text()
    page.goto("/dead?handler=billing.charge")
    for summary in page.locator("summary").all():
        summary.click()
    check(page)


def test_what_is_sensitive_is_on_no_page(flower: Flower, shop: Shop) -> None:
    [dead] = [d for d in shop.backend.deliveries.dead("order") if d.event_id == ID]
    for path in ("/events", "/dead?handler=billing.charge", f"/event/x?at=order/{dead.entry}"):
        assert "4242" not in flower.ask(path).text
    shown = flower.ask(f"/event/{quote(ID, safe='')}?at=order/{dead.entry}")
    assert 200 == shown.status and "***" in shown.text and "4242" not in shown.text


def test_markup_in_an_address_is_text_too(page: Page, shop: Shop) -> None:
    for path in (
        "/events?type=",
        "/events?id=",
        "/events?subject=",
        "/dead?handler=",
        "/dead?error=",
    ):
        page.goto(path + quote(XSS))
        check(page)
    page.goto("/event/" + quote(XSS, safe=""))
    check(page)


def test_a_hostile_letter_is_redriven_from_its_own_button(page: Page, shop: Shop) -> None:
    page.goto("/dead?handler=billing.charge")
    letter = page.locator(".cl-letter", has_text="order.placed")
    key = letter.get_attribute("data-key") or ""
    letter.get_by_role("button", name="Redrive").click()
    page.get_by_role("dialog").get_by_role("button", name="Redrive").click()
    page.locator(f'[data-key="{key}"]').wait_for(state="detached")
    shop.run_until_idle()


@pytest.fixture(scope="module")
def evil_site() -> Iterator[str]:
    """A page of another origin, for its own script to run on."""

    class Page_(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>evil</title><body>")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page_)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_site_neither_acts_nor_reads_nor_frames(
    browser: Browser, flower: Flower, shop: Shop, evil_site: str
) -> None:
    """In a browser that has logged in to Flower."""
    context = browser.new_context(http_credentials={"username": USER, "password": PASSWORD})
    page = context.new_page()
    page.goto(flower.url + "/dead")
    before = [letter.id for letter in shop.backend.deliveries.dead("order")]
    letter = f"order/{before[0]}"
    page.goto(evil_site)
    outcome = page.evaluate(
        EVIL,
        [flower.url, letter],
    )
    assert "unread" == outcome[-1]
    assert not [one for one in outcome if "200" in str(one)]
    assert before == [one.id for one in shop.backend.deliveries.dead("order")]
    assert all("/dead" not in frame.url or not frame.query_selector("nav") for frame in page.frames)
    context.close()
