"""What a forged Celery message can make a worker do: nothing that was not due anyway."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from celery import signals
from celery.exceptions import InvalidTaskError
from hypothesis import given
from hypothesis import strategies as st
from kombu import message as kombu_message
from kombu import serialization
from kombu.exceptions import ContentDisallowed
from kombu.utils import imports as kombu_imports

from celeriac import ConfigurationError, Event, EventBus
from celeriac.delivery import FetchRequest, Group
from celeriac.dispatcher import Chunk
from celeriac.dispatcher.chunk import Item
from celeriac.event import EventHeader, event_key
from celeriac.event_log import Entry
from celeriac.handler import HandlerOptions, make_handler
from celeriac.settings import MAX_DELIVERIES_PER_TASK, Settings
from celeriac.testing.store import Store
from celeriac.worker.delivery_task import (
    check_message,
    read_entries,
    read_pairs,
    write_chunk,
    write_pairs,
)
from celeriac.worker.request import DeliveryRequest, guarded_strategy

# kombu ships no types
Message: Any = kombu_message.Message
symbol_by_name: Any = kombu_imports.symbol_by_name
dumps: Any = serialization.dumps

GOOD = "1-0 a\n12-3 b"
ran: list[str] = []


@pytest.mark.parametrize("domain", ["order", "a-b_C9", "x" * 255])
def test_a_task_as_dispatchers_send_it_is_read(domain: str) -> None:
    assert read_pairs(domain, GOOD) == [("1-0", "a"), ("12-3", "b")]


@pytest.mark.parametrize("key", ["a", "a b", " ", "x" * 263, "é\u2028\x85", "1-0 a"])
def test_what_is_written_is_read(key: str) -> None:
    pairs = [("1-0", key), ("2-0", "b")]
    assert read_pairs("order", write_pairs(pairs)) == pairs


@pytest.mark.parametrize(
    "domain", ["", "a.b", "a}:x", "{a}", "a*", "a\n", "é", "x" * 256, None, 1, ["order"], b"order"]
)
def test_a_domain_that_is_no_segment_becomes_no_key(domain: Any) -> None:
    with pytest.raises(InvalidTaskError, match="the domain of a delivery task"):
        read_pairs(domain, GOOD)


@pytest.mark.parametrize(
    "events",
    [
        None, {}, {"1-0": "a"}, 1, [], [["1-0", "a"]], b"1-0 a", "",
        "1-0", "1-0 ", "1-0\ta", " 1-0 a", "1-0 a\n", "\n1-0 a", "1-0 a\n\n2-0 b",
        "1-0 " + "x" * 264,
        "1 a", "- a", "+ a", "* a", "$ a", "(1-0 a", "1-" + "9" * 20 + " a", "١-٠ a",
        "1-0 a\n1-0 b",
        "\n".join(f"{n}-0 a" for n in range(MAX_DELIVERIES_PER_TASK + 1)),
    ],
)  # fmt: skip
def test_events_of_odd_shapes_are_refused(events: Any) -> None:
    with pytest.raises(InvalidTaskError):
        read_pairs("order", events)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@given(json_values, json_values)
def test_any_json_is_read_or_refused(domain: Any, events: Any) -> None:
    try:
        pairs = read_pairs(domain, events)
    except InvalidTaskError:
        return
    assert all(type(entry) is str and type(id) is str for entry, id in pairs)


@given(json_values, json_values, json_values)
def test_any_message_is_taken_or_refused(args: Any, kwargs: Any, embedded: Any) -> None:
    try:
        check_message(args, kwargs, embedded)
    except InvalidTaskError:
        return
    assert {"domain", "events"} <= kwargs.keys()


def message(*, args: Any = (), kwargs: Any = None, embed: Any = None, headers: Any = None) -> Any:
    """A message of the queue, as Celery's second protocol has it."""
    given = {"domain": "order", "events": GOOD} if kwargs is None else kwargs
    return Message(
        body=json.dumps([args, given, embed or {"callbacks": None, "chord": None}]),
        content_type="application/json",
        content_encoding="utf-8",
        headers={"id": "1", "task": "billing.charge", "lang": "py", **(headers or {})},
        accept={"application/json"},
    )


@pytest.fixture
def task(bus: EventBus, store: Store) -> Any:
    @bus.on("order.placed")
    def charge(event: Event) -> None:
        ran.append(event.id)

    ran.clear()
    bus.app.finalize()
    return bus.app.tasks["billing.charge"]


def request(task: Any, message: Any) -> DeliveryRequest:
    return DeliveryRequest(message, app=task.app, task=task)


def test_a_message_of_a_dispatcher_is_taken(task: Any) -> None:
    assert request(task, message()).kwargs == {"domain": "order", "events": GOOD}
    watched = message(kwargs={"domain": "order", "events": GOOD, "watched": True})
    assert request(task, watched).id == "1"


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        ({"args": ["order", GOOD]}, "no positional arguments"),
        ({"kwargs": {}}, "has the arguments"),
        ({"kwargs": {"domain": "order"}}, "has the arguments"),
        ({"kwargs": [1, 2]}, "has the arguments"),
        ({"kwargs": {"domain": "o", "events": GOOD, "self": 1}}, "has the arguments"),
        ({"embed": {"callbacks": [{"task": "shipping.send"}]}}, "embeds none"),
        ({"embed": {"errbacks": [{"task": "shipping.send"}]}}, "embeds none"),
        ({"embed": {"chain": [{"task": "shipping.send"}]}}, "embeds none"),
        ({"embed": {"chord": {"task": "shipping.send"}}}, "embeds none"),
        ({"headers": {"callbacks": [{"task": "shipping.send"}]}}, "headers of a delivery task"),
        ({"headers": {"errbacks": [{"task": "shipping.send"}]}}, "headers of a delivery task"),
        ({"headers": {"chain": [{"task": "shipping.send"}]}}, "headers of a delivery task"),
        ({"headers": {"chord": {"task": "shipping.send"}}}, "headers of a delivery task"),
        ({"headers": {"group": "g"}}, "headers of a delivery task"),
    ],
)
def test_a_message_that_would_do_more_is_refused_before_it_reaches_a_process(
    task: Any, forged: Any, reason: str
) -> None:
    with pytest.raises(InvalidTaskError, match=reason):
        request(task, message(**forged))


@pytest.mark.parametrize("body", [b'{"no":"list"}', b'"text"', b"null", b"[]", b"[1,2,3,4]"])
@pytest.mark.parametrize("name", ["billing.charge", "celery.starmap"])
def test_a_body_of_another_shape_is_an_invalid_message_and_no_end_of_the_worker(
    task: Any, body: bytes, name: str
) -> None:
    """As a ValueError it would end the worker's main process."""
    one = Message(body=body, content_type="application/json", content_encoding="utf-8",
                  headers={"id": "1", "task": name}, accept={"application/json"})  # fmt: skip
    forged = task.app.tasks[name]
    kind: Any = symbol_by_name(forged.Request)
    with pytest.raises(InvalidTaskError):
        kind(one, app=task.app, task=forged)


def test_a_message_does_not_set_the_limits_of_the_handler(task: Any) -> None:
    """`timelimit` of the message would end the process, or let it run for ever."""
    assert request(task, message(headers={"timelimit": [0.001, 0.001]})).time_limits == (None, None)


def note_abandoned(abandoned: list[Any]) -> Callable[..., int]:
    def abandon(*settled: Any) -> int:
        abandoned.append(settled)
        return 1

    return abandon


@pytest.mark.parametrize("soft", [True, False])
def test_only_the_limit_that_kills_the_process_completes_what_it_ran(
    task: Any, soft: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the soft limit the handler still runs: a scheduled retry would run at the same time."""
    abandoned: list[Any] = []
    monkeypatch.setattr(task, "abandon", note_abandoned(abandoned), raising=False)
    request(task, message()).on_timeout(soft, 1)
    named = [] if soft else [{"domain": "order", "events": GOOD}]
    assert [one[0] for one in abandoned] == named


def test_celery_logs_an_end_of_the_process_only_where_no_attempt_was_logged(
    task: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed_attempts = [1, 0]
    monkeypatch.setattr(task, "abandon", lambda *_: failed_attempts.pop(0), raising=False)
    for expected in (0, 1):
        request(task, message()).on_timeout(False, 1)
        assert expected == caplog.text.count("Hard time limit")


def test_an_end_that_celery_reports_twice_is_completed_once(
    task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the second report the next attempt may be running."""
    abandoned: list[Any] = []
    monkeypatch.setattr(task, "abandon", note_abandoned(abandoned), raising=False)
    hanging = request(task, message())
    for _ in range(2):
        hanging.on_timeout(False, 1)
    assert 1 == len(abandoned)


def test_pickle_is_not_read(task: Any) -> None:
    pickled = Message(
        body=pickle.dumps(((), {"domain": "order", "events": GOOD}, None)),
        content_type="application/x-python-serialize",
        content_encoding="binary",
        headers={"id": "1", "task": "billing.charge"},
        accept={"application/json"},
    )
    assert task.app.conf.accept_content == ["json"]
    with pytest.raises(ContentDisallowed):
        request(task, pickled)


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_message_in_any_serializer_of_the_app_is_given_to_celery(
    task: Any, serializer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A triple is a list in JSON, and a tuple in pickle."""
    received: list[Any] = []

    def fetch(message: Any, body: Any) -> None:
        received.append(message)

    monkeypatch.setattr("celeriac.worker.request.default", lambda *_, **__: fetch)
    content_type, encoding, body = dumps(((), {}, {}), serializer=serializer)
    one = Message(body=body, content_type=content_type, content_encoding=encoding,
                  headers={"id": "1", "task": "billing.charge"}, accept={content_type})  # fmt: skip
    guarded_strategy(task, task.app, None)(one, None)
    assert received == [one]


def test_a_task_that_is_called_by_another_is_bounded_as_well(task: Any, store: Store) -> None:
    """`celery.map` of a forged message calls the task with an argument of its own."""
    with pytest.raises(InvalidTaskError):
        task.app.tasks["celery.map"].run({"task": "billing.charge"}, ["order"])
    with pytest.raises(InvalidTaskError):
        task.run(domain="order}:x", events=GOOD)
    assert ran == []


def test_what_the_handler_was_not_given_is_not_run(task: Any, bus: EventBus, store: Store) -> None:
    """Another domain, another handler's entry, an entry that is done: the claim finds nothing."""
    group = Group("order", "billing.charge")
    store.event_log.join("order", group.handler, "0")
    bus.emit("payment.captured", id="p")
    id = bus.emit("order.placed")
    key = event_key(id, "billing")
    entry = store.event_log.read("order")[0].id
    foreign = store.event_log.read("payment")[0].id
    for domain, events in (
        ("order", f"{entry} {key}"),  # not taken by a dispatcher yet
        ("payment", f"{foreign} p"),  # no group of this handler there
        ("order", f"{foreign} p"),  # no such entry
    ):
        assert "nothing to do" in task.run(domain=domain, events=events)
    (taken,) = store.deliveries.fetch(bus.service.worker, [FetchRequest(group, limit=1)])
    sent_task = {"domain": "order", "events": f"{taken.deliveries[0].entry} {key}"}
    assert task.run(**sent_task) == "1 processed"
    assert "nothing to do" in task.run(**sent_task)
    assert ran == [id]


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("billing.gone", {"domain": "a}:b", "events": GOOD}),
        ("billing.gone", {"domain": "order", "events": "+ a"}),
        ("billing.gone", {}),
        ("billing.gone} x", {"domain": "order", "events": GOOD}),
        ("shipping.send", {"domain": "order", "events": GOOD}),
    ],
)
def test_a_task_for_a_handler_that_is_not_here_is_bounded_too(
    task: Any, bus: EventBus, store: Store, name: str, kwargs: Any
) -> None:
    def claimed(*_: Any) -> Any:
        raise AssertionError("it was claimed")

    setattr(store.deliveries, "claim", claimed)  # noqa: B010
    signals.task_unknown.send(sender=None, message=message(kwargs=kwargs), name=name)


def test_no_dispatcher_sends_more_than_a_task_may_name() -> None:
    with pytest.raises(ConfigurationError, match="CELERIAC_MAX_CHUNK=10001: must be at most 10000"):
        Settings.load({}, max_chunk=10_001)


def chunk_of(*bodies: bytes | None) -> Chunk:
    def charge(event: Event) -> None: ...

    handler = make_handler(charge, ["order.#"], HandlerOptions(), service="billing")
    header = EventHeader(id="a", source="s", type="order.placed")
    entries = tuple(Entry(f"{n}-0", body) for n, body in enumerate(bodies, 1))
    items = (Item("1-0", 0, header),)
    return Chunk(handler, handler.group("order"), items, id="0" * 16, entries=entries)


@pytest.mark.parametrize("bodies", [(b"{}",), (b"{}", None), ('{"a": "é\u2028"}'.encode(), b"[")])
def test_the_entries_of_a_chunk_are_read_as_they_were_written(bodies: tuple[Any, ...]) -> None:
    chunk = chunk_of(*bodies)
    assert read_entries(write_chunk(chunk)["entries"]) == list(chunk.entries or ())


def test_a_chunk_with_a_body_that_is_not_utf8_is_written_without_entries() -> None:
    """Another program can append anything to the log; the process reads the chunk there."""
    written = write_chunk(chunk_of(b"{}", b"\xff\xfe\x00"))
    assert written == {"domain": "order", "chunk": "0" * 16, "more": 0}
