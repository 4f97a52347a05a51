"""Flower with our pages, asked by programs and by other sites: no browser is needed for this."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac.delivery import Group
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkRequest
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.registry import HandlerRecord
from celeriac.reply import RequestEnd, RequestOutcome
from celeriac.settings import Settings
from celeriac.store.redis.keys import Keys
from celeriac.tracking import DeliveryState, Matrix
from tests.browser.flower import Flower, shop_of
from tests.browser.story import Repaired, settle, tell
from tests.unit.tracking.shop import Shop

PAGES = [
    "/events",
    "/matrix",
    "/services",
    "/dead",
    "/audit",
    "/schedules",
    "/celeriac/home",
    "/celeriac/count",
]
PAGES += ["/explain?type=order.placed", "/explain?event=x&handler=billing.book"]
ACTIONS = ["redrive", "discard", "count-many", "redrive-many", "discard-many", "replay"]
ACTIONS += ["pause", "resume"]


@pytest.fixture(scope="module")
def shop(watched: Settings) -> Shop:
    made = shop_of(watched)
    tell(made, orders=14)
    return made


@pytest.fixture(scope="module")
def open_flower(
    watched: Settings, shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flower]:
    """A Flower without authentication and with an open API."""
    started = Flower(
        watched,
        tmp_path_factory.mktemp("open"),
        options=("--url-prefix=watch",),
        environment={"FLOWER_UNAUTHENTICATED_API": "true"},
        prefix="/watch",
    )
    try:
        yield started.start()
    finally:
        started.stop()


# -- who may


@pytest.mark.parametrize("path", [*PAGES, "/event/x", "/events?live=1"])
def test_pages_need_the_password(flower: Flower, shop: Shop, path: str) -> None:
    refused = flower.ask(path, user="")
    assert 401 == refused.status
    assert 'Basic realm="flower"' == refused.headers["WWW-Authenticate"]
    assert 401 == flower.ask(path, user="ada:wrong").status
    assert flower.ask(path).status in (200, 404)


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_need_the_password(flower: Flower, name: str) -> None:
    refused = flower.act(name, user="")
    assert 401 == refused.status
    assert "WWW-Authenticate" in refused.headers
    assert 405 == flower.ask(f"/celeriac/action/{name}", Content_Type="application/json").status


@pytest.mark.parametrize("name", ACTIONS)
def test_another_site_cannot_act(flower: Flower, open_flower: Flower, name: str) -> None:
    for one in (flower, open_flower):
        assert 403 == one.act(name, Sec_Fetch_Site="cross-site").status
        assert 403 == one.act(name, Sec_Fetch_Site="same-site").status
    foreign = flower.ask(
        f"/celeriac/action/{name}",
        method="POST",
        body=b"{}",
        Origin="https://evil.example.com",
        Content_Type="application/json",
    )
    assert 403 == foreign.status
    assert 415 == flower.act(name, Content_Type="text/plain").status


def test_actions_need_authentication(open_flower: Flower) -> None:
    """Not even where its own API is open to all."""
    for name in ACTIONS:
        refused = open_flower.act(name, user="")
        assert 403 == refused.status
        assert "--basic-auth" in json.loads(refused.text)["error"]


def test_no_other_site_may_read_where_flower_is_open(open_flower: Flower) -> None:
    for path in PAGES:
        answer = open_flower.ask(path, user="", Origin="https://evil.example.com")
        assert 200 == answer.status, path
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        looks = open_flower.ask(path, user="", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")
        assert 403 == looks.status
    # the same of Flower's own pages is Flower's business; its own header is there
    assert "*" == open_flower.ask("/workers", user="").headers["Access-Control-Allow-Origin"]


def test_another_name_does_not_lead_in_where_flower_is_open(open_flower: Flower) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", open_flower.port, timeout=60)
    connection.request("GET", "/watch/events", headers={"Host": "evil.example.com"})
    assert 403 == connection.getresponse().status
    connection.close()


def test_pages_without_authentication_show_why_actions_are_disabled(open_flower: Flower) -> None:
    page = open_flower.ask("/dead", user="").text
    assert "Actions need authentication" in page
    assert "disabled" in page


# -- their content


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_below_the_prefix(open_flower: Flower, path: str) -> None:
    page = open_flower.ask(path, user="")
    assert 200 == page.status
    bare = open_flower.url.removesuffix("/watch")
    for address in page.text.split('href="')[1:]:
        assert address.startswith(("/watch/", "https://", "#", "?")), address[:60]
    assert "/watch/celeriac/static/celeriac.js?v=" in open_flower.ask("/", user="").text
    assert bare in open_flower.url


def test_the_first_page_and_every_navigation_lead_to_ours(flower: Flower) -> None:
    for path in ("/", "/tasks", "/broker"):
        page = flower.ask(path).text
        for ours in ("/events", "/matrix", "/services", "/dead"):
            assert f'href="{ours}"' in page, path
    assert 'data-live="/celeriac/home?live=1"' in flower.ask("/").text


def test_what_did_not_change_is_not_sent_again(flower: Flower) -> None:
    first = flower.ask("/dead?live=1")
    assert 200 == first.status
    assert 304 == flower.ask("/dead?live=1", If_None_Match=first.headers["Etag"]).status


@pytest.mark.parametrize(
    "path",
    [
        "/events?state=bad", "/events?type=order.[", "/events?last=99y", "/events?until=never",
        "/dead?type=order.[",
    ],
)  # fmt: skip
def test_an_invalid_filter_is_reported_on_a_page(flower: Flower, path: str) -> None:
    answer = flower.ask(path)
    assert 400 == answer.status
    assert "Invalid request" in answer.text and "navbar" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/events?before=nonsense", "/events?before=order/x-1", "/events?before=/",
        "/events?before=a/1",
        "/dead?handler=a.b&before=order/x", "/dead?handler=a.b&before=nonsense",
        "/event/%00", "/event/..%2F..", "/event/x?at=order/1-x", "/events?id=%FF",
    ],
)  # fmt: skip
def test_nonsense_in_an_address_is_no_fault_of_ours(flower: Flower, path: str) -> None:
    assert flower.ask(path).status in (200, 400, 404), flower.said()[-2000:]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"not json",
        b'{"dead_letter": 1}',
        b'{"unknown": 1}',
        b"\xff",
        b'{"dead_letter": "x"}',
    ],
)
def test_an_invalid_action_is_reported(flower: Flower, body: bytes) -> None:
    for name in ACTIONS:
        answer = flower.act(name, body)
        assert answer.status < 500, (name, answer.text)
        assert json.loads(answer.text)


# -- what they do


def test_each_action_runs_once_and_is_recorded_with_its_user(flower: Flower, shop: Shop) -> None:
    matrix = Matrix(shop.backend)
    [first, second] = shop.backend.deliveries.dead("order")
    asked = json.dumps({"dead_letter": f"order/{first.id}"}).encode()
    assert {"done": 1, "gone": 0} == json.loads(flower.act("redrive", asked).text)
    assert {"done": 0, "gone": 1} == json.loads(flower.act("redrive", asked).text)
    settle(shop)
    assert 2 == shop.backend.deliveries.dead_count("order"), "the cause is not fixed"
    asked = json.dumps({"dead_letter": f"order/{second.id}"}).encode()
    assert {"done": 1, "gone": 0} == json.loads(flower.act("discard", asked).text)
    Repaired.done = True
    try:
        counted = json.loads(flower.act("count-many", b'{"handler": "billing.charge_card"}').text)
        assert (1, True) == (counted["chosen"], counted["end"])
        asked = {"handler": "billing.charge_card", "until_ms": counted["until_ms"]}  # type: ignore[assignment]
        done = json.loads(flower.act("redrive-many", json.dumps(asked).encode()).text)
        assert (1, 0, True) == (done["done"], done["refused"], done["end"])
        settle(shop)
    finally:
        Repaired.done = False
    assert DeliveryState.PROCESSED in {
        cell.state
        for cell in matrix.status(first.event_id).cells
        if cell.handler == "billing.charge_card"
    }
    audit = flower.ask("/audit").text
    for word in ("ada", "redrive", "discard", f"order/{first.id}", "handler=billing.charge_card"):
        assert word in audit


def test_many_are_not_touched_before_they_were_counted(flower: Flower) -> None:
    for name in ("redrive-many", "discard-many"):
        refused = flower.act(name, b"{}")
        assert 400 == refused.status and "Count the dead letters first" in refused.text


def test_an_event_is_replayed_through_one_handler(flower: Flower, shop: Shop) -> None:
    [event] = Matrix(shop.backend).events(pattern="shipment.sent", limit=1)
    asked = {"event": event.id, "handler": "analytics.count_events", "at": ""}
    assert 1 == json.loads(flower.act("replay", json.dumps(asked).encode()).text)["done"]
    group = Group("shipment", "analytics.count_events")
    pending = shop.backend.deliveries.pending(group, event.entry or "")
    assert pending is not None and "scheduled" == pending.owner
    settle(shop)
    for wrong in ({"handler": "nobody.at_all"}, {"event": "nothing"}):
        refused = flower.act("replay", json.dumps({**asked, **wrong}).encode())
        assert 404 == refused.status and json.loads(refused.text)["error"]


def test_an_event_in_a_chunk_shows_its_worker(flower: Flower, shop: Shop) -> None:
    group, chunks, worker = Group("chunked", "audit.chunked"), shop.backend.chunks, "audit@far/1-ab"
    shop.backend.event_log.join("chunked", group.handler, "0")
    shop.backend.registry.register(
        HandlerRecord(
            id=group.handler, service="audit", patterns=("chunked.x",), queue="audit",
            since={"chunked": "0-0"},
        )
    )  # fmt: skip
    processed, running = (shop.emit("chunked.x") for _ in range(2))
    [fetched] = chunks.fetch(worker, [ChunkRequest(group, "c", 2, running=True)])
    first = fetched.entries[0].id
    at_ms = shop.backend.registry.now_ms()
    record = pack_runs(worker, at_ms, [first], [run_code(RunOutcome.PROCESSED, 500)])
    assert chunks.complete(worker, group, "c", ChunkCompletion(first, 1, record))
    done, under_way = (flower.ask(f"/event/{id}").text for id in (processed, running))
    for page, state in ((done, "processed"), (under_way, "running")):
        [part] = re.findall(r'<article class="cl-part" data-key="audit.chunked".*?</article>', page,
                            re.DOTALL)  # fmt: skip
        assert f'data-state="{state}"' in part
        assert 1 == part.count("on audit@far")
    shop.backend.registry.unregister(group.handler)
    shop.backend.event_log.leave("chunked", group.handler)


def test_a_handler_is_paused_and_resumed(flower: Flower, shop: Shop) -> None:
    asked = json.dumps({"handler": "billing.book", "reason": "the books are closed"}).encode()
    assert 200 == flower.act("pause", asked).status
    circuit = shop.backend.circuits.get("billing.book")
    assert ("paused", "by ada: the books are closed") == (circuit.state, circuit.reason)
    assert "the books are closed" in flower.ask("/services").text
    assert 200 == flower.act("resume", b'{"handler": "billing.book"}').status
    assert "closed" == shop.backend.circuits.get("billing.book").state
    assert 404 == flower.act("pause", b'{"handler": "nobody.at_all"}').status


def test_requests_are_shown_by_their_type(flower: Flower, shop: Shop) -> None:
    replies = shop.backend.replies
    replies.open("m1", "price.asked", 60_000)
    replies.open("m2", "price.asked", 60_000)
    replies.count_end(RequestEnd("m2", "price.asked", RequestOutcome.REPLIED, 2_000))
    replies.push("m3", b"late", "price.asked")
    text = flower.ask("/services").text
    [row] = re.findall(r'<tr data-key="request price.asked">.*?</tr>', text, re.DOTALL)
    numbers = re.findall(r'data-label="([^"]+)"[^>]*>(\d+)<', row)
    assert numbers == [
        ("Pending", "1"), ("Replied", "1"), ("Timed out", "0"), ("Failed", "0"),
        ("Late replies", "1"),
    ]  # fmt: skip


def test_read_only_shows_everything_and_does_nothing(
    watched: Settings, shop: Shop, tmp_path: Path
) -> None:
    reader = Flower(watched, tmp_path, options=("--basic-auth=ada:secret", "--read-only"))
    try:
        reader.start()
        assert 200 == reader.ask("/dead").status
        assert "read-only" in reader.ask("/services").text
        for name in ACTIONS:
            assert 403 == reader.act(name).status
    finally:
        reader.stop()


def test_the_metrics_of_the_bus_are_next_to_those_of_flower(flower: Flower, shop: Shop) -> None:
    """Without authentication, as Flower's own are."""
    text = flower.ask("/metrics", user="").text
    assert "celeriac_up 1.0" in text
    assert 'handler="billing.charge_card"' in text
    assert "flower_" in text


# -- how it starts


@pytest.mark.parametrize("options", [("--address=0.0.0.0",), ("--address=::",)])
def test_it_does_not_start_for_others_without_a_password(
    watched: Settings, tmp_path: Path, options: tuple[str, ...]
) -> None:
    refused = Flower(watched, tmp_path, options=options)
    process = refused.launch()
    assert 1 == process.wait(90)
    assert "--basic-auth" in refused.said() and "CELERIAC_FLOWER_OPEN" in refused.said()


def test_without_the_plugin_it_is_stock_flower(watched: Settings, tmp_path: Path) -> None:
    stock = Flower(
        watched, tmp_path, options=("--address=127.0.0.1",), environment={"CELERIAC_FLOWER": "off"}
    )
    try:
        stock.start()
        assert 404 == stock.ask("/events", user="").status
        assert "/events" not in stock.ask("/", user="").text
    finally:
        stock.stop()


def test_pages_report_an_unreachable_redis(watched: Settings, tmp_path: Path) -> None:
    """And Flower continues to run."""
    import dataclasses

    from celeriac.testing.server import start_server

    with start_server(tmp_path / "data", appendonly=False) as server:
        settings = dataclasses.replace(watched, redis_url=server.url, emit_timeout=1.0)
        alone = Flower(settings, tmp_path, environment={"CELERIAC_EMIT_TIMEOUT": "1"})
        try:
            alone.start()
            assert 200 == alone.ask("/events").status
            server.kill()
            for path in ("/events", "/services?live=1", "/dead", "/celeriac/home?live=1"):
                answer = alone.ask(path)
                assert 503 == answer.status, path
                assert "cannot reach Redis" in answer.text
            assert "OK" == alone.ask("/healthcheck").text
        finally:
            alone.stop()


# -- what is stored may be anything


def test_garbage_in_shared_records_is_a_notice_and_no_error(
    watched: Settings, flower: Flower, shop: Shop
) -> None:
    client: Any = redis.Redis.from_url(watched.redis_url)
    keys = Keys(watched.namespace)
    spoilt = [keys.handlers, keys.workers, keys.circuits]
    for key in spoilt:
        client.hset(key, b"\xff<b>", b"{")
    client.sadd(keys.domains, b"\xff")
    try:
        for path in PAGES:
            assert 200 == flower.ask(path).status, path
        text = flower.ask("/services").text
        assert "cannot be read" in text
        assert keys.handlers in text
        assert "\\xff&lt;b&gt;" in text
    finally:
        for key in spoilt:
            client.hdel(key, b"\xff<b>")
        client.srem(keys.domains, b"\xff")
        client.close()
    assert "cannot be read" not in flower.ask("/services").text


def test_of_events_with_one_id_the_one_that_is_named_is_replayed(
    flower: Flower, shop: Shop
) -> None:
    for source in ("one", "two"):
        shop.emit("shipment.sent", id="shared", source=source)
    settle(shop)
    events = {one.event.source: one for one in Matrix(shop.backend).find_all("shared")}
    group, two = Group("shipment", "analytics.count_events"), events["two"]
    asked = {"event": "shared", "handler": group.handler}
    refused = flower.act("replay", json.dumps(asked).encode())
    assert 400 == refused.status and "one in shipment/" in json.loads(refused.text)["error"]
    named = json.dumps({**asked, "source": "two", "at": "shipment/1-1"}).encode()
    assert 1 == json.loads(flower.act("replay", named).text)["done"]
    pending = {s: shop.backend.deliveries.pending(group, e.entry or "") for s, e in events.items()}
    assert pending["one"] is None
    assert pending["two"] is not None and "scheduled" == pending["two"].owner
    settle(shop)
    page = flower.ask("/event/shared").text
    assert "Another event has this id" in page
    assert two.entry is not None and two.entry in page
    assert "Another event" not in flower.ask(f"/event/shared?at=shipment/{two.entry}").text


def test_editing_is_off_unless_someone_is_named(flower: Flower, shop: Shop) -> None:
    refused = flower.act("edit", b'{"dead_letter": "order/1-1", "document": "{}"}')
    assert 403 == refused.status
    assert "Editing is disabled" in json.loads(refused.text)["error"]


def test_events_and_dead_letters_of_a_tenant_are_shown_and_discarded_alone(
    flower: Flower, shop: Shop
) -> None:
    of = {
        tenant: shop.emit("order.placed", {"number": 7}, tenant=tenant)
        for tenant in ("acme", "globex")
    }
    settle(shop)
    page = flower.ask("/events?tenant=acme").text
    assert of["acme"] in page and of["globex"] not in page
    assert 'title="Events of the tenant acme"' in page and 'value="acme"' in page
    letters = flower.ask("/dead?tenant=acme").text
    assert of["acme"] in letters and of["globex"] not in letters
    assert "?tenant=globex" in flower.ask(f"/event/{of['globex']}").text
    counted = json.loads(flower.act("count-many", b'{"tenant": "acme"}').text)
    assert (1, True) == (counted["chosen"], counted["end"])
    asked = {"tenant": "acme", "until_ms": counted["until_ms"]}
    done = json.loads(flower.act("discard-many", json.dumps(asked).encode()).text)
    assert (1, 0, True) == (done["done"], done["refused"], done["end"])
    remaining = {letter.event_id for letter in shop.backend.deliveries.dead("order")}
    assert of["globex"] in remaining and of["acme"] not in remaining
    assert "tenant=acme" in flower.ask("/audit").text
