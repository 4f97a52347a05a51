"""Pages of events: complete, without doubles, and bounded in what they read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from time import sleep
from typing import Any

import pytest

from celeriac import NotFound, Retry, SubscriptionError
from celeriac.event import build_event, encode
from celeriac.event_log import EventLog
from celeriac.registry import HandlerRecord
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.tracking import DeliveryState, Matrix, Query
from celeriac.tracking.locate import SAMPLE
from tests.unit.tracking.shop import Shop


def fail(_: Any) -> None:
    raise ValueError("no")


def found(matrix: Matrix, **query: Any) -> list[str]:
    return walk(matrix, Query(**query), 10)


def walk(matrix: Matrix, query: Query, limit: int) -> list[str]:
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = matrix.page(query, before=cursor, limit=limit)
        seen += (one.id for one in page.events)
        cursor = page.older
    return seen


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_hold_every_event_once(shop: Shop, matrix: Matrix, limit: int) -> None:
    """Also those of several domains that came in the same millisecond."""
    ids = [shop.emit(type) for _ in range(4) for type in ("a.x", "b.x", "c.x")]
    seen = walk(matrix, Query(), limit)
    assert len(ids) == len(seen)
    assert set(ids) == set(seen)


def test_new_events_change_no_cursor(shop: Shop, matrix: Matrix) -> None:
    ids = [shop.emit("order.placed") for _ in range(4)]
    first = matrix.page(Query(), limit=2)
    shop.emit("order.placed")
    second = matrix.page(Query(), before=first.older or "", limit=2)
    assert ids[::-1] == [one.id for page in (first, second) for one in page.events]


def test_a_search_stops_when_enough_was_read_and_continues(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = shop.emit("order.rare")
    for _ in range(9):
        shop.emit("order.placed")
    query, backend = Query(pattern="*.rare"), shop.backend
    records: list[HandlerRecord] = []
    search = matrix_search().search
    page = search(backend, records, query, limit=5, max_read=4)
    assert (0, False) == (len(page.events), page.full)
    assert page.older and page.searched_ms
    page = search(backend, records, query, before=page.older, limit=5, max_read=4)
    page = search(backend, records, query, before=page.older, limit=5, max_read=4)
    assert [wanted] == [one.id for one in page.events]


def matrix_search() -> Any:
    from celeriac.tracking import search

    return search


def test_one_cell_must_match_all_filters(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.*", retries=0, function=fail)
    shop.on("mail.send", "order.placed", "user.*")
    shop.start()
    placed, amended, joined = map(shop.emit, ("order.placed", "order.amended", "user.joined"))
    shop.run_until_idle()
    assert {placed, joined} == set(found(matrix, service="mail"))
    assert (
        {placed, amended}
        == set(found(matrix, state=DeliveryState.DEAD))
        == set(found(matrix, handler="billing.charge"))
    )
    assert set() == set(found(matrix, service="mail", state=DeliveryState.DEAD))
    assert {placed} == set(found(matrix, service="mail", pattern="order.#"))
    assert set() == set(found(matrix, service="nobody"))
    [row] = matrix.page(Query(service="mail", pattern="order.#")).events
    assert {"billing.charge", "mail.send"} == {cell.handler for cell in row.cells}


def test_events_are_found_by_their_tenant_exactly(shop: Shop, matrix: Matrix) -> None:
    first = shop.emit("order.placed", tenant="acme")
    other = shop.emit("user.joined", tenant="acme-eu")
    shop.emit("order.placed")
    assert [first] == found(matrix, tenant="acme")
    assert [other] == found(matrix, tenant="acme-eu")
    assert [] == found(matrix, tenant="ac")
    assert "acme" == matrix.status(first).tenant
    assert ["acme"] == [event.tenant for event in matrix.events(tenant="acme")]


def test_events_are_found_by_what_id_subject_and_time_begin_with(
    shop: Shop, matrix: Matrix
) -> None:
    first = shop.emit("order.placed", id="first-1", subject="order/1")
    second = shop.emit("order.placed", id="second-2", subject="order/22")
    assert [first] == found(matrix, id="first")
    assert [second] == found(matrix, subject="order/2")
    time_ms = matrix.find(first).time_ms
    assert [] == found(matrix, until_ms=time_ms - 1) == found(matrix, since_ms=time_ms + 60_000)
    assert {first, second} == set(found(matrix, since_ms=time_ms))
    with pytest.raises(SubscriptionError):
        found(matrix, pattern="order.[")


def test_a_page_reads_little_of_a_long_log(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3000):
        shop.emit("order.placed")
    read = count_reads(shop.backend.event_log, monkeypatch)
    assert 20 == len(matrix.page(Query(), limit=20).events)
    assert sum(read) <= 200


def test_a_page_of_short_logs_reads_each_of_them_once(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.on("billing.charge", "a.*", "b.*", retries=0, function=fail)
    shop.start()
    ids = [shop.emit(f"{domain}.x") for domain in "abc" for _ in range(3)]
    shop.run_until_idle()
    read = count_reads(shop.backend.event_log, monkeypatch)
    assert set(ids) == {one.id for one in matrix.page(Query(), limit=20).events}
    assert [3, 3, 3] == read
    counts = count_all_reads(shop.backend, monkeypatch)
    assert 6 == len(matrix.page(Query(state=DeliveryState.DEAD), limit=20).events)
    assert [3, 3, 0] == counts[:3]


def count_reads(event_log: EventLog, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counts: list[int] = []
    original = event_log.read

    def read(*args: Any, **options: Any) -> Any:
        found = original(*args, **options)
        counts.append(len(found))
        return found

    monkeypatch.setattr(event_log, "read", read)
    return counts


# -- one event


def append_unregistered(shop: Shop, id: str) -> None:
    """Append an event whose id is not registered, or no longer."""
    event = build_event("order.placed", None, source="shop", id=id)
    shop.backend.event_log.append("order", encode(event))


def test_an_event_is_found_where_it_was_seen(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.emit("order.placed", id="mine")
    [row] = matrix.page(Query()).events
    read = count_reads(shop.backend.event_log, monkeypatch)
    assert "mine" == matrix.find("mine", near=f"order/{row.entry}").event.id
    assert [1] == read


@pytest.mark.parametrize("near", ["order/nonsense", "nowhere/1-1", "order/9-9", "/", "order/1-"])
def test_a_wrong_near_is_ignored(shop: Shop, matrix: Matrix, near: str) -> None:
    shop.emit("order.placed", id="mine")
    assert "mine" == matrix.find("mine", near=near).event.id


def test_a_lookup_reads_a_bounded_part_of_the_logs_unless_it_is_deep(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.tracking.reading.MAX_ENTRIES", 20)
    monkeypatch.setattr("celeriac.tracking.reading.FIRST_PAGE", 5)
    monkeypatch.setattr("celeriac.tracking.reading.PAGE", 10)
    append_unregistered(shop, "old")
    for _ in range(100):
        shop.emit("order.placed")
    read = count_reads(shop.backend.event_log, monkeypatch)
    with pytest.raises(NotFound, match=r"and 20 events were searched. .*status old --deep"):
        matrix.find("old")
    assert 2 * SAMPLE + 20 == sum(read)
    told: list[int] = []
    assert "old" == matrix.find_all("old", deep=True, progress=told.append)[0].event.id
    assert 101 == told[-1]
    with pytest.raises(NotFound, match=r"never emitted here, or trimmed"):
        matrix.find("nowhere", deep=True)


def test_large_events_end_a_look_up_sooner(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.tracking.reading.MAX_BYTES", 10_000)
    monkeypatch.setattr("celeriac.tracking.reading.FIRST_PAGE", 2)
    monkeypatch.setattr("celeriac.transfer.PAGE_BYTES", 8_000)
    monkeypatch.setattr("celeriac.tracking.locate.SAMPLE", 1)
    append_unregistered(shop, "old")
    for _ in range(20):
        shop.emit("order.placed", data={"text": "x" * 4_000})
    read = count_reads(shop.backend.event_log, monkeypatch)
    with pytest.raises(NotFound, match="--deep"):
        matrix.find("old")
    assert sum(read) <= 2 + 4


def test_a_given_id_is_found_by_its_registration_before_a_handler_has_fetched_it(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without reading the log: only the entry, and a sample of sources."""
    shop.emit("order.placed", id="old")
    for _ in range(100):
        shop.emit("order.placed")
    read = count_reads(shop.backend.event_log, monkeypatch)
    assert "old" == matrix.find("old").event.id
    assert sum(read) <= 2 * SAMPLE + 1


@pytest.mark.parametrize("is_escaped", [True, False])
@pytest.mark.parametrize("id", ["Bestellung-7ü", 'a "quoted" id', "a/b"])
def test_an_id_is_found_however_its_producer_escapes_it(
    shop: Shop, matrix: Matrix, id: str, is_escaped: bool
) -> None:
    shop.emit("order.placed")
    event = {"specversion": "1.0", "id": id, "source": "other", "type": "order.placed"}
    body = json.dumps(event, ensure_ascii=is_escaped).replace("/", "\\/" if is_escaped else "/")
    shop.backend.event_log.append("order", body.encode())
    assert id == matrix.find(id).event.id


def test_the_events_around_the_time_of_an_id_are_read_from_that_time_on(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.tracking.reading.MAX_ENTRIES", 10)
    for _ in range(50):
        shop.emit("order.placed")
    event_log = shop.backend.event_log
    if isinstance(event_log, MemoryEventLog):
        event_log.clock = MemoryClock()
        # The clock is stopped. The id is made before this time, however slow the machine is.
        event_log.clock.advance(100_000)
    sleep(0.002)  # so that no entry before is of the same millisecond
    id = shop.emit("order.placed")
    for _ in range(50):
        shop.emit("order.placed")
    assert id == matrix.find(id).event.id


# -- by state: what is read does not grow with the log


def count_all_reads(backend: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the size of each read of the log or of the delivery store."""
    counts: list[int] = []
    for owner, name in (
        (backend.event_log, "read"), (backend.deliveries, "dead"),
        (backend.deliveries, "pending_between"),
    ):  # fmt: skip
        original = getattr(owner, name)

        def counted(*args: Any, _of: Any = original, **options: Any) -> Any:
            found = _of(*args, **options)
            counts.append(len(found))
            return found

        monkeypatch.setattr(owner, name, counted)
    return counts


def long_log(shop: Shop) -> None:
    """600 events that were processed, after those that a test has emitted."""
    for _ in range(600):
        shop.emit("order.placed")
    shop.run_until_idle()


def test_dead_letters_are_found_without_reading_the_log(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.on("billing.charge", "order.#", retries=0, function=fail_rare)
    shop.start()
    first = shop.emit("order.rare")
    shop.run_until_idle()
    second = shop.emit("order.rare")
    long_log(shop)
    asked = count_all_reads(shop.backend, monkeypatch)
    assert [second, first] == [
        one.id for one in matrix.page(Query(state=DeliveryState.DEAD)).events
    ]
    assert sum(asked) <= 10
    assert [second, first] == walk(matrix, Query(state=DeliveryState.DEAD), 1)
    assert [] == found(matrix, state=DeliveryState.DEAD, handler="billing.other")


def fail_rare(event: Any) -> None:
    if event.type == "order.rare":
        raise ValueError("no")


def retry_rare(event: Any) -> None:
    if event.type == "order.rare":
        raise Retry(after=3600)


def test_deliveries_in_flight_are_found_without_reading_the_log(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.on("billing.charge", "order.#", function=retry_rare)
    shop.on("mail.send", "order.rare", function=retry_rare)
    shop.start()
    rare = [shop.emit("order.rare") for _ in range(3)]
    long_log(shop)
    asked = count_all_reads(shop.backend, monkeypatch)
    page = matrix.page(Query(state=DeliveryState.SCHEDULED))
    assert rare[::-1] == [one.id for one in page.events]
    assert 3 == page.read
    assert sum(asked) <= 30
    assert rare[::-1] == walk(matrix, Query(state=DeliveryState.SCHEDULED), 1)
    assert [] == found(matrix, state=DeliveryState.RUNNING)


def test_a_holder_of_many_is_read_in_windows(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one millisecond has more than a window holds."""
    from celeriac.tracking import candidate

    monkeypatch.setattr(candidate, "PENDING", 4)
    shop.on("billing.charge", "order.#", function=retry_rare)
    shop.start()
    rare = [shop.emit("order.rare") for _ in range(40)]
    shop.run_until_idle()
    assert rare[::-1] == walk(matrix, Query(state=DeliveryState.SCHEDULED), 7)


def test_waiting_events_are_searched_down_to_the_slowest_handler(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.on("billing.charge", "order.#")
    shop.start()
    long_log(shop)
    waiting = [shop.emit("order.placed") for _ in range(3)]
    asked = count_all_reads(shop.backend, monkeypatch)
    page = matrix.page(Query(state=DeliveryState.WAITING))
    assert waiting[::-1] == [one.id for one in page.events]
    assert page.older is None
    assert 3 == page.read
    assert sum(asked) <= 10


def test_a_list_of_events_reads_the_newest_unless_a_time_is_given(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    from celeriac.tracking import matrix as module

    monkeypatch.setattr(module, "NEWEST", 5)
    oldest = shop.emit("order.rare")
    for _ in range(9):
        shop.emit("order.placed")
    page = matrix.newest(pattern="*.rare")
    assert ([], False, 5) == (list(page.events), page.full, page.read)
    page = matrix.newest(pattern="*.rare", since=datetime.fromtimestamp(0, UTC))
    assert ([oldest], True) == ([one.id for one in page.events], page.full)
