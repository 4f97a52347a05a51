"""Each page in a browser: what it shows, that it is live, and that keyboards and phones do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from celeriac.dead_letter import record_setting
from celeriac.event import build_event, encode
from celeriac.schedule import make_schedule
from celeriac.settings import Settings
from celeriac.tracking import Matrix
from tests.browser.flower import PASSWORD, USER, Flower, shop_of
from tests.browser.story import settle, tell
from tests.unit.tracking.shop import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = [
    "/",
    "/events",
    "/matrix",
    "/services",
    "/dead",
    "/dead?handler=billing.charge_card",
    "/audit",
    "/schedules",
    "/explain?type=order.placed",
    "/explain?type=order.placed&handler=billing.charge_card",
]


@pytest.fixture(scope="module")
def ids(shop: Shop) -> dict[str, str]:
    return tell(shop)


@pytest.fixture(scope="module")
def shop(watched: Settings) -> Shop:
    return shop_of(watched)


@pytest.fixture(autouse=True)
def story(ids: dict[str, str]) -> None:
    """There is something to see on every page."""


def live(page: Page) -> None:
    """Wait until the page shows that it is live."""
    page.get_by_text("Live", exact=True).wait_for()


# -- events


def test_events_come_by_themselves(page: Page, shop: Shop) -> None:
    page.goto("/events")
    live(page)
    new = shop.emit("order.placed", {"number": 2}, subject="order/by-itself")
    page.get_by_text("order/by-itself").wait_for()
    row = page.locator("tr", has=page.locator(f'[title="{new}"]'))
    row.get_by_text("waiting").wait_for()
    settle(shop)
    row.get_by_text("processed").wait_for()
    assert "3/3" in row.inner_text()


def test_events_are_filtered_and_the_url_has_the_filter(page: Page, ids: dict[str, str]) -> None:
    page.goto("/events")
    page.get_by_label("State").select_option("dead")
    page.wait_for_url(re.compile(r"state=dead$"))
    assert 4 == page.locator(".cl-events tbody tr").count()
    page.get_by_label("Type").fill("payment.#")
    page.get_by_label("Type").press("Enter")
    page.wait_for_url(re.compile("type=payment"))
    page.get_by_text("No matching events").wait_for()
    page.get_by_text("Clear").click()
    page.get_by_label("Id", exact=True).fill(ids["dead"])
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url(re.compile("id="))
    assert 1 == page.locator(".cl-events tbody tr").count()


def test_pages_go_back_and_forth(page: Page) -> None:
    page.goto("/events")
    first = page.locator(".cl-events tbody tr").first.get_attribute("data-key")
    page.get_by_role("link", name="Older").click()
    page.wait_for_url(re.compile("before="))
    assert first is not None and first not in page.locator(".cl-events").inner_html()
    page.get_by_role("link", name="Newest").click()
    page.wait_for_url(re.compile(r"/events$"))
    assert first == page.locator(".cl-events tbody tr").first.get_attribute("data-key")


# -- one event


def test_an_event_shows_its_attempts_and_why_they_failed(page: Page, ids: dict[str, str]) -> None:
    page.goto("/events?state=dead")
    page.locator("tr", has_text=ids["dead"]).get_by_role("link").click()
    page.get_by_role("heading", name="Event", exact=True).wait_for()
    page.wait_for_load_state()  # the heading is there before the parts below it
    part = page.locator('[data-key="billing.charge_card"].cl-part')
    assert 3 == part.locator(".cl-attempt").count()
    assert "UnknownCard: no card on file for order 7" in part.inner_text()
    assert 3 == part.get_by_role("img", name=re.compile("^Attempt")).count()
    assert not part.get_by_text("raise UnknownCard").is_visible()
    part.locator("summary").click()
    assert part.get_by_text("raise UnknownCard").is_visible()
    page.wait_for_timeout(2500)
    assert part.get_by_text("raise UnknownCard").is_visible(), "live or not, it stays unfolded"
    assert '"email": "customer7@example.com"' in page.get_by_label("Data").inner_text()


def test_the_tree_of_causes_leads_to_each_of_its_events(page: Page, ids: dict[str, str]) -> None:
    page.goto(f"/event/{ids['chain']}")
    tree = page.locator(".cl-tree")
    for type in ("order.placed", "payment.captured", "shipment.sent"):
        assert 1 == tree.locator(".cl-node-type", has_text=type).count()
    assert "charge_card" in tree.inner_html() and "send_parcel" in tree.inner_html()
    tree.locator(".cl-node-type", has_text="shipment.sent").click()
    page.wait_for_url(re.compile("shipment"))
    assert 3 == page.locator(".cl-tree .cl-node").count(), "the same tree from the other end"


def test_an_event_that_is_not_there_can_be_searched_for(page: Page) -> None:
    page.goto("/event/nowhere")
    page.get_by_role("link", name="Search the full log for it").click()
    page.wait_for_url(re.compile("deep=1"))
    page.get_by_text("it was never emitted here").wait_for()


# -- why


def test_each_handler_of_an_event_has_the_reason_behind_it(page: Page, ids: dict[str, str]) -> None:
    page.goto(f"/event/{ids['dead']}")
    page.get_by_role("link", name="Why billing.charge_card is dead").click()
    live(page)
    checks = page.locator(".cl-check")
    names = ["emitted", "registered", "pattern", "addressed", "subscribed", "dead"]
    assert names == checks.locator(".cl-check-name").all_inner_texts()
    decides = page.locator(".cl-check-decides")
    assert 1 == decides.count()
    assert "no card on file for order 7" in decides.inner_text()
    assert "celeriac dead redrive order/" in decides.inner_text()
    page.get_by_role("link", name="All handlers").click()
    row = page.locator("tr", has_text="shipping.send_parcel")
    row.get_by_text('segment 1 is "order", the pattern wants "payment"').wait_for()


def test_a_cell_in_the_list_of_events_leads_to_its_reason(page: Page, ids: dict[str, str]) -> None:
    page.goto(f"/events?id={ids['dead']}")
    page.locator('.cl-cells [data-state="dead"]').click()
    page.wait_for_url(re.compile("/explain"))
    page.locator(".cl-check-decides", has_text="dead letter").wait_for()


def test_a_cell_of_the_matrix_explains_why_a_handler_gets_no_event_of_a_type(page: Page) -> None:
    page.goto("/matrix")
    cell = page.locator('tr[data-key="billing.book"] td[data-key="order.placed"]')
    cell.get_by_text("?").click()
    page.wait_for_url(re.compile("/explain"))
    page.locator(".cl-check-decides", has_text='the pattern wants "payment"').wait_for()
    assert "if it were emitted now" in page.locator(".cl-hero").inner_text()


def test_an_event_that_the_log_does_not_have_is_explained_as_well(page: Page) -> None:
    page.goto("/explain?event=nowhere&handler=billing.book")
    page.locator(".cl-check-decides", has_text="never emitted here").wait_for()


# -- matrix and services


def test_a_cell_of_the_matrix_opens_its_events(page: Page) -> None:
    page.goto("/matrix")
    page.get_by_role("link", name=re.compile(r"billing\.charge_card, order\.placed")).click()
    page.wait_for_url(re.compile(r"handler=billing\.charge_card&type=order\.placed"))
    assert page.locator(".cl-events tbody tr").count() > 10


def test_a_handler_that_finished_nothing_shows_its_lag(page: Page, shop: Shop) -> None:
    """By domain, next to the handler: no cell shows the lag of other types."""
    shop.on("late.audit", "audit.opened")
    shop.start()
    for n in range(3):
        shop.emit("audit.opened", {"n": n})
    page.goto("/matrix")
    row = page.locator('[data-key="late.audit"]')
    row.locator(".cl-lag").get_by_text("3 audit").wait_for()
    assert 0 == page.locator(".cl-square").get_by_text("lag").count()
    page.locator("thead").get_by_text("opened").wait_for()
    settle(shop)


def test_names_of_eighty_characters_are_shown_whole_in_services(page: Page, shop: Shop) -> None:
    name = ("a_handler_with_a_long_name_" + "x" * 80)[:80]
    worker = "celery@" + "w" * 73
    shop.on(f"long.{name}", "long.named")
    shop.start()
    record = shop.record(shop.services["long"])
    shop.backend.registry.heartbeat(msgspec.structs.replace(record, name=f"{worker}/1-ab"))
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto("/services")
        for shown in (
            page.get_by_role("link", name=name),
            page.locator(f'[data-key="{worker}/1-ab"]'),
        ):
            shown.wait_for()
            assert shown.evaluate("""e => {
                const box = e.closest("td, header").getBoundingClientRect();
                return [...e.getClientRects()].every(
                    r => r.left >= box.left && r.right <= box.right);
            }""")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_handler_is_paused_with_a_reason_and_resumed(page: Page, shop: Shop) -> None:
    page.goto("/services")
    page.get_by_role("button", name="Pause shipping.send_parcel").click()
    page.get_by_placeholder("Reason").fill("the carrier is on strike")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    page.get_by_text("the carrier is on strike").wait_for()
    assert "paused" == shop.backend.circuits.get("shipping.send_parcel").state
    page.get_by_role("button", name="Resume shipping.send_parcel").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause shipping.send_parcel").wait_for()
    assert "closed" == shop.backend.circuits.get("shipping.send_parcel").state
    page.goto("/audit")
    page.get_by_role("row", name=re.compile("ada pause .*carrier is on strike")).wait_for()


# -- acting


def test_a_no_and_escape_change_nothing(page: Page, shop: Shop) -> None:
    page.goto("/dead")
    before = shop.backend.deliveries.dead_count("order")
    for how in ("Cancel", "Escape"):
        page.get_by_role("button", name="Redrive").first.click()
        page.locator(".cl-dialog-count", has_text="4 dead letters").wait_for()
        page.get_by_text("4 × billing.charge_card, order.placed, UnknownCard").wait_for()
        if how == "Cancel":
            page.get_by_role("button", name="Cancel").click()
        else:
            page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
    assert before == shop.backend.deliveries.dead_count("order")


def test_one_letter_is_discarded_from_the_keyboard(page: Page, shop: Shop) -> None:
    page.goto("/dead?handler=billing.charge_card")
    before = page.locator(".cl-letter").count()
    last = page.locator(".cl-letter").last
    key = last.get_attribute("data-key") or ""
    button = last.get_by_role("button", name="Discard")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Discard?")
    dialog.wait_for()
    named = dialog.locator("li").inner_text()
    assert named.startswith("billing.charge_card, order.placed order/")
    assert "UnknownCard: no card on file" in named
    assert "Cancel" == page.evaluate("document.activeElement.textContent"), "nothing by a slip"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text(f"Discarded: {named}").wait_for()
    page.locator(f'[data-key="{key}"]').wait_for(state="detached")
    assert before - 1 == page.locator(".cl-letter").count()
    assert None is shop.backend.deliveries.dead_letter("order", key.partition("/")[2])


def test_an_event_is_replayed_from_its_page(page: Page, shop: Shop, ids: dict[str, str]) -> None:
    page.goto(f"/event/{ids['retried']}")
    part = page.locator('[data-key="analytics.count_events"].cl-part')
    part.get_by_role("button", name="Replay").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    part.get_by_text("scheduled").wait_for()
    settle(shop)
    part.locator(".cl-part-head").get_by_text("processed").wait_for()


# -- everywhere


def test_keys_lead_to_the_filter_and_past_the_navigation(page: Page) -> None:
    page.goto("/events")
    page.keyboard.press("/")
    assert "type" == page.evaluate("document.activeElement.name")
    page.goto("/dead")
    page.keyboard.press("Tab")
    page.get_by_text("Skip to main content").press("Enter")
    page.wait_for_url(re.compile("#main-content$"))


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1024), ("dark", 390)])
def test_no_page_is_wider_than_the_screen(
    browser: Browser, flower: Flower, ids: dict[str, str], theme: str, width: int
) -> None:
    """In either theme, which the browser asks for and Flower's own switch sets."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=theme,  # type: ignore[arg-type]
        http_credentials={"username": USER, "password": PASSWORD},
        base_url=flower.url,
    )
    page = context.new_page()
    for path in [*PAGES, f"/event/{ids['dead']}"]:
        page.goto(path)
        assert theme == page.evaluate("document.documentElement.dataset.bsTheme")
        over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert over <= 0, (path, over)
    context.close()


CUT = """() => [...document.querySelectorAll(".cl-scroll, .cl-card-note, .cl-events .cl-mono")]
    .filter(e => !e.querySelector(".cl-matrix, .cl-tree") && e.scrollWidth > e.clientWidth + 1)
    .map(e => e.innerText)"""


def test_no_table_and_no_id_is_cut_on_a_phone(page: Page, ids: dict[str, str]) -> None:
    """Only the matrix and the tree of causes scroll."""
    page.set_viewport_size({"width": 400, "height": 800})
    for path in [*PAGES, f"/event/{ids['dead']}"]:
        page.goto(path)
        assert page.evaluate(CUT) == [], path


def test_each_value_of_the_audit_log_has_its_name_on_a_phone(page: Page, shop: Shop) -> None:
    record_setting(shop.backend, actor="ada", what="max_backlog=5")
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto("/audit")
    cell = page.locator("td[data-label=Subject]").first
    assert cell.evaluate("e => getComputedStyle(e, '::before').content") == '"Subject"'


def test_nothing_is_loaded_from_elsewhere(page: Page, flower: Flower) -> None:
    foreign: list[str] = []
    page.on("request", lambda r: None if r.url.startswith(flower.url) else foreign.append(r.url))
    for path in PAGES:
        page.goto(path)
    assert [] == foreign


def test_a_page_opened_with_a_password_in_its_address_is_live_too(
    browser: Browser, flower: Flower
) -> None:
    """As the demo shows it; scripts may not use such an address."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(40_000)
    page.goto(flower.url.replace("http://", f"http://{USER}:{PASSWORD}@") + "/services")
    page.get_by_role("button", name="Pause billing.book").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume billing.book").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause billing.book").wait_for()
    live(page)
    context.close()


def test_a_restart_of_flower_forgets_nothing(
    page: Page, flower: Flower, shop: Shop, ids: dict[str, str]
) -> None:
    """An open page shows that it is not live, and then recovers."""
    page.goto(f"/event/{ids['dead']}")
    before = page.locator(".cl-part").all_inner_texts()
    flower.stop()
    page.get_by_text("Not live: Flower is unreachable").wait_for()
    flower.start()
    page.get_by_text("Live", exact=True).wait_for(timeout=30_000)
    assert before == page.locator(".cl-part").all_inner_texts()
    assert Matrix(shop.backend).status(ids["dead"]).id == ids["dead"]


# -- schedules


def test_a_schedule_shows_its_ticks_and_links_to_the_event(page: Page, shop: Shop) -> None:
    schedule = make_schedule("report.due", service="reports", every=3600)
    schedules, now = shop.backend.schedules, shop.backend.registry.now_ms()
    shop.backend.event_log.register_domains(["report"])
    last = schedule.ticks.last_until(now)
    schedules.declare(schedule, last)
    event = build_event("report.due", None, source="reports", id=schedule.event_id(last))
    schedules.tick(
        schedule,
        expected_ms=last,
        next_ms=schedule.ticks.next_after(now),
        tick_ms=last,
        body=encode(event),
    )
    late = make_schedule("report.late", service="reports", every=60)
    schedules.declare(late, now - 3_600_000)
    page.goto("/schedules")
    live(page)
    row = page.locator('[data-key="reports:report.due"]')
    row.get_by_text("every 3600 s").wait_for()
    page.locator('[data-key="reports:report.late"]').get_by_text("overdue").wait_for()
    row.get_by_role("link").click()
    page.get_by_text(event.id).first.wait_for()
