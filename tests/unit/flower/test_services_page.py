"""What the page of services reads."""

from __future__ import annotations

from celeriac.flower.page import MAX_SUGGESTED
from celeriac.flower.view.events import read_choices
from celeriac.flower.view.services import MAX_LINES, MAX_SERVICES, Services, read_services
from celeriac.registry import HandlerRecord
from celeriac.settings import Settings
from celeriac.store.factory import Backend
from celeriac.tracking import Matrix
from tests.unit.registry.test_broadcasts import EACH, ONCE, worker
from tests.unit.tracking.shop import memory_backend


def backend_with(*handlers: str) -> Backend:
    """A bus on which each of the handlers is registered."""
    backend = memory_backend(Settings.load({}))
    backend.event_log.append("order", b"{}")
    for name in handlers:
        service, since = name.partition(".")[0], {"order": "0-0"}
        record = HandlerRecord(
            id=name, service=service, patterns=("order.#",), queue=service, since=since
        )
        backend.registry.register(record)
        backend.event_log.join("order", name, "$" if name.endswith("quick") else "0")
    return backend


def shown(read: Services) -> dict[str, list[str]]:
    return {one.name: [line.view.handler for line in one.lines] for one in read.shown}


def test_all_handlers_are_shown_by_service_where_they_are_few() -> None:
    read = read_services(Matrix(backend_with("b.two", "a.one", "b.one")))
    assert {"a": ["a.one"], "b": ["b.one", "b.two"]} == shown(read)
    assert ([0, 0], 0) == ([one.more_lines for one in read.shown], read.more)


def test_of_many_handlers_those_furthest_behind_are_shown_and_the_others_counted() -> None:
    slow = [f"a.h{n:03}" for n in range(MAX_LINES)]
    read = read_services(Matrix(backend_with("a.quick", "b.quick", *slow)))
    assert {"a": slow, "b": []} == shown(read)
    assert {"a": 1, "b": 1} == {one.name: one.more_lines for one in read.shown}


def test_of_many_services_the_others_are_counted() -> None:
    read = read_services(Matrix(backend_with(*(f"s{n:03}.h" for n in range(MAX_SERVICES + 2)))))
    assert (MAX_SERVICES, 2) == (len(read.shown), read.more)


def test_of_many_names_some_are_there_to_choose_from_and_the_others_counted() -> None:
    names = [f"s{n:03}.h" for n in range(MAX_SUGGESTED + 3)]
    choices = read_choices(Matrix(backend_with(*names)), True)
    assert names[:MAX_SUGGESTED] == choices["handlers"]
    assert (3, 3) == (choices["more_handlers"], choices["more_services"])


def test_broadcast_handlers_are_shown_with_their_live_instances() -> None:
    backend = backend_with("shop.pay")
    backend.registry.heartbeat(worker("one", 3, clear=EACH))
    backend.registry.heartbeat(worker("two", 2, clear=EACH, forget=ONCE))
    [service] = read_services(Matrix(backend)).shown
    shown = [(each.id, each.scope, each.instances) for each in service.broadcasts]
    assert shown == [("shop.clear", "process", 5), ("shop.forget", "worker", 1)]
