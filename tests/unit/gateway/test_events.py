"""`POST /events`: what is accepted, what is refused, and with which status."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import pytest

from celeriac import EventBus, Middleware, Sensitive
from celeriac.contract import contract, schema_uri, upcast
from celeriac.errors import BusUnavailable, LogFull
from celeriac.event import Event
from celeriac.event.http_message import BATCH, STRUCTURED
from celeriac.gateway import Limits, Token, gateway
from celeriac.security.generate import generate
from celeriac.testing.store import Store
from tests.declared_contracts import no_contracts
from tests.unit.gateway.conftest import AUTHORIZED, PARTNER, SECRET, App, Ask, ask

JSON = {"content-type": STRUCTURED}
EVENT = {"specversion": "1.0", "id": "p-1", "source": "/partner", "type": "parcel.sent"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def event(**members: Any) -> str:
    return json.dumps({**EVENT, **members})


def bodies(store: Store, domain: str = "parcel") -> list[dict[str, Any]]:
    """The events in the log."""
    return [json.loads(entry.body or b"") for entry in store.event_log.read(domain)]


def test_a_structured_event_is_accepted_as_it_is(post: Ask, store: Store) -> None:
    answer = post(event(data={"n": 1}, subject="parcel/1"), JSON)
    assert (answer.status_code, answer.json()) == (202, {"ids": ["p-1"]})
    assert bodies(store) == [{**EVENT, "data": {"n": 1}, "subject": "parcel/1"}]


def test_a_binary_event_is_accepted(post: Ask, store: Store) -> None:
    headers = {f"ce-{name}": value for name, value in EVENT.items()}
    answer = post(b"\x00\x01", {**headers, "content-type": "image/png", "ce-subject": "%C3%A9"})
    assert answer.status_code == 202
    (stored,) = bodies(store)
    assert stored == {
        **EVENT, "subject": "é", "datacontenttype": "image/png", "data_base64": "AAE=",
    }  # fmt: skip


def test_a_batch_is_accepted_in_order(post: Ask, store: Store) -> None:
    batch = [{**EVENT, "id": f"p-{n}"} for n in range(3)]
    answer = post(json.dumps(batch), {"content-type": f"{BATCH}; charset=utf-8"})
    assert (answer.status_code, answer.json()) == (202, {"ids": ["p-0", "p-1", "p-2"]})
    assert [stored["id"] for stored in bodies(store)] == ["p-0", "p-1", "p-2"]


def test_a_text_that_was_cut_within_a_character_is_accepted_in_each_mode(
    post: Ask, store: Store
) -> None:
    data = {"text": "cut \ud83d"}
    headers = {f"ce-{name}": value for name, value in {**EVENT, "id": "p-3"}.items()}
    answers = [
        post(event(data=data), JSON),
        post(json.dumps([{**EVENT, "id": "p-2", "data": data}]), {"content-type": BATCH}),
        post(json.dumps(data), {**headers, "content-type": "application/json"}),
    ]
    assert [answer.status_code for answer in answers] == [202] * 3, answers[1].text
    assert [stored["data"] for stored in bodies(store)] == [{"text": "cut \ufffd"}] * 3


def test_an_empty_batch_is_accepted(post: Ask) -> None:
    assert post("[]", {"content-type": BATCH}).json() == {"ids": []}


@pytest.mark.parametrize("mode", [STRUCTURED, BATCH])
def test_a_repetition_is_answered_like_the_first_one_and_appends_nothing(
    post: Ask, store: Store, mode: str
) -> None:
    content = event() if mode == STRUCTURED else json.dumps([EVENT, {**EVENT, "id": "p-2"}])
    answers = [post(content, {"content-type": mode}) for _ in range(3)]
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1
    assert len(bodies(store)) == (1 if mode == STRUCTURED else 2)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"id": None}, "id"),
    ({"id": "x" * 256}, "id"),
    ({"type": None}, "type"),
    ({"type": "parcel..sent"}, "type"),
    ({"source": None}, "source"),
    ({"specversion": "0.3"}, "specversion"),
    ({"time": "yesterday"}, "time"),
    ({"datacontenttype": "json"}, "datacontenttype"),
    ({"dataschema": "relative"}, "dataschema"),
    ({"traceparent": "1"}, "traceparent"),
    ({"data_base64": "%"}, "data_base64"),
    ({"handlers": "x"}, "handlers"),
    ({"Bad_Name": 1}, "Bad_Name"),
]


@pytest.mark.parametrize(("members", "field"), INVALID, ids=[field for _, field in INVALID])
def test_an_invalid_event_is_refused_with_the_attribute_and_the_reason(
    post: Ask, store: Store, members: dict[str, Any], field: str
) -> None:
    answer = post(event(**members), JSON)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["title"]) == (400, 400, "Bad Request")
    assert problem["field"] == field
    assert field in problem["detail"]
    assert bodies(store) == []


def test_the_refusal_of_a_batch_numbers_the_event_and_accepts_none(post: Ask, store: Store) -> None:
    for wrong, field in (({"id": ""}, "id"), ({"source": "/other"}, "source")):
        batch = [EVENT, {**EVENT, **wrong}]
        problem = post(json.dumps(batch), {"content-type": BATCH}).json()
        assert (problem["event"], problem["field"]) == (2, field)
        assert "accepted" not in problem
    assert bodies(store) == []


NO_EVENTS = [b"", b"{", b"[]", b"7", b"\xff", b'{"id":"\xff"}', b"[" * 9999]


@pytest.mark.parametrize("content", NO_EVENTS, ids=range(len(NO_EVENTS)))
def test_what_is_no_event_is_refused(post: Ask, content: bytes) -> None:
    assert post(content, JSON).status_code == 400


def test_data_that_no_handler_could_decode_is_refused(post: Ask, store: Store) -> None:
    broken = event(data="x").replace('"x"', '"\udcff"').encode("utf-8", "surrogateescape")
    answer = post(broken, JSON)
    assert answer.status_code == 400
    assert bodies(store) == []


MEDIA = [
    ({"content-type": "application/cloudevents+avro"}, "content-type"),
    ({"content-type": f"{STRUCTURED}; charset=latin-1"}, "content-type"),
    ({"content-type": "application/json"}, "content-type"),
    ({}, "content-type"),
    ({"content-type": STRUCTURED, "content-encoding": "gzip"}, None),
]


@pytest.mark.parametrize(("headers", "field"), MEDIA)
def test_another_media_type_is_refused(
    post: Ask, headers: dict[str, str], field: str | None
) -> None:
    answer = post(event(), headers)
    assert answer.status_code == 415
    assert answer.json().get("field") == field


def test_an_attribute_that_occurs_twice_is_refused(app: App) -> None:
    binary = [(f"ce-{name}", value) for name, value in EVENT.items()]
    headers = [*AUTHORIZED.items(), *binary, ("CE-Type", "payment.captured")]
    answer = ask(app, "POST", "/events", headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (400, "ce-type")


@pytest.mark.parametrize("other", ["Bearer another-secret-of-32-characters!", ""])
def test_two_tokens_are_refused(app: App, other: str) -> None:
    for values in ((AUTHORIZED["authorization"], other), (other, AUTHORIZED["authorization"])):
        headers = [*JSON.items(), *(("authorization", value) for value in values)]
        answer = ask(app, "POST", "/events", content=event(), headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (400, "authorization")


def test_a_header_that_is_not_ascii_is_refused(app: App) -> None:
    binary = [(f"ce-{name}".encode(), value.encode()) for name, value in EVENT.items()]
    headers = [(b"authorization", AUTHORIZED["authorization"].encode()), *binary]
    answer = ask(app, "POST", "/events", headers=[*headers, (b"ce-subject", "é".encode())])
    assert (answer.status_code, answer.json()["field"]) == (400, "ce-subject")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": SECRET},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": "Bearer "},
        {"authorization": b"Bearer \xff"},
    ],
)
def test_without_a_known_token_nothing_is_read(app: App, headers: Any) -> None:
    answer = ask(app, "POST", "/events", headers=headers, content=b"not read")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_gateway_without_tokens_refuses_each_event(bus: EventBus, store: Store) -> None:
    app = gateway(bus)
    assert ask(app, "POST", "/events", content=event(), headers=JSON).status_code == 401


@pytest.mark.parametrize(
    ("members", "field"), [({"type": "order.placed"}, "type"), ({"source": "shop"}, "source")]
)
def test_a_token_decides_on_types_and_source(
    post: Ask, store: Store, members: dict[str, Any], field: str
) -> None:
    answer = post(event(**members), JSON)
    assert (answer.status_code, answer.json()["field"]) == (403, field)
    assert store.event_log.domains() == frozenset()


def test_an_event_over_max_event_bytes_is_refused(store: Store) -> None:
    bus = EventBus(service="billing", max_event_bytes=400)
    app = gateway(bus, tokens=[PARTNER], limits=Limits(max_body=10_000))
    headers = {**AUTHORIZED, **JSON}
    answer = ask(app, "POST", "/events", content=event(data="x" * 500), headers=headers)
    assert answer.status_code == 413
    assert bodies(store) == []


def test_a_batch_over_max_batch_is_refused(bus: EventBus, store: Store) -> None:
    app = gateway(bus, tokens=[PARTNER], limits=Limits(max_batch=1))
    headers = {**AUTHORIZED, "content-type": BATCH}
    for batch in ([EVENT, EVENT], [EVENT, {}]):  # its events are not read
        answer = ask(app, "POST", "/events", content=json.dumps(batch), headers=headers)
        assert (answer.status_code, "at most 1" in answer.text) == (413, True)


def test_another_method_is_refused(app: App) -> None:
    assert ask(app, "GET", "/events").status_code == 405


class Failing(Middleware):
    """Lets each emit fail as the event log would."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def before_emit(self, event: Event[Any]) -> Event[Any]:
        raise self.error


def refused(error: Exception) -> httpx.Response:
    bus = EventBus(service="billing", middleware=[Failing(error)])
    app = gateway(bus, tokens=[PARTNER])
    return ask(app, "POST", "/events", content=event(), headers={**AUTHORIZED, **JSON})


def test_a_full_log_is_answered_with_when_to_retry(store: Store) -> None:
    answer = refused(LogFull("handler billing.secret has 1,000,000 events"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert "billing.secret" not in answer.text


@pytest.mark.parametrize(("unwritten", "state"), [(True, "was not"), (False, "may have been")])
def test_an_unreachable_redis_is_answered_with_the_same_id_again(
    store: Store, unwritten: bool, state: str
) -> None:
    error = BusUnavailable("cannot reach Redis at redis.internal:6379")
    error.nothing_written = unwritten
    answer = refused(error)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["detail"] == (
        f"the event {state} accepted. Send it again with the same id"
    )
    assert "internal" not in answer.text


def test_a_full_log_returns_how_many_of_a_batch_were_accepted(store: Store) -> None:
    bus = EventBus(service="billing", log_full="raise", max_backlog=2)
    store.event_log.settings = bus.settings
    store.event_log.bus = type(store.event_log)(bus.settings, store.clock).bus
    store.event_log.join("parcel", "billing.count", "$")
    app = gateway(bus, tokens=[PARTNER])
    batch = json.dumps([{**EVENT, "id": f"p-{n}"} for n in range(3)])
    headers = {**AUTHORIZED, "content-type": BATCH}
    answer = ask(app, "POST", "/events", content=batch, headers=headers)
    assert (answer.status_code, answer.json()["accepted"]) == (429, 2)
    assert len(bodies(store)) == 2


@dataclass
class Parcel:
    number: int
    name: Annotated[str, Sensitive] = ""


def test_data_is_checked_and_converted_as_declared(bus: EventBus, post: Ask, store: Store) -> None:
    bus.declare("parcel.sent", Parcel)
    answer = post(event(data={"number": "seven"}), JSON)
    assert (answer.status_code, answer.json()["field"]) == (400, "data.number")
    assert "seven" not in answer.text
    assert post(event(data={"number": 7, "unknown": 1}), JSON).status_code == 202
    (stored,) = bodies(store)
    assert stored["data"] == {"number": 7}


def test_sensitive_paths_are_added_to_those_of_the_sender(store: Store) -> None:
    bus = EventBus(service="billing", sensitive="iban")
    bus.declare("parcel.sent", Parcel)
    app = gateway(bus, tokens=[PARTNER])
    content = event(data={"number": 7, "name": "Ann"}, sensitive="number")
    assert ask(app, "POST", "/events", content=content, headers={**AUTHORIZED, **JSON}).is_success
    (stored,) = bodies(store)
    assert set(stored["sensitive"].split(",")) == {"number", "name", "**.iban"}


def test_data_of_an_older_version_is_converted_and_of_a_newer_one_kept(
    post: Ask, store: Store
) -> None:
    with no_contracts():

        @contract("parcel.sent", version=2)
        class Sent(msgspec.Struct):
            number: int
            currency: str

        @upcast("parcel.sent", 1)
        def with_currency(data: Any) -> Any:
            return {**data, "currency": "EUR"}

        assert post(event(id="1", data={"number": 7}), JSON).status_code == 202
        wrong = event(id="2", data={"number": 7}, dataschema=schema_uri("parcel.sent", 2))
        assert post(wrong, JSON).json()["field"] == "data"
        newer = {"number": 7.5, "dataschema": schema_uri("parcel.sent", 3)}
        assert post(event(id="3", data=newer, dataschema=newer["dataschema"]), JSON).is_success
    old, new = bodies(store)
    assert old["data"] == {"number": 7, "currency": "EUR"}
    assert old["dataschema"] == schema_uri("parcel.sent", 2)
    assert new["data"] == newer


def test_the_trace_of_the_request_continues_in_the_event(post: Ask, store: Store) -> None:
    assert post(event(id="1"), {**JSON, "traceparent": TRACE}).is_success
    assert post(event(id="2"), {**JSON, "traceparent": "wrong"}).is_success
    own = TRACE.replace("4bf9", "0bf9")
    assert post(event(id="3", traceparent=own), {**JSON, "traceparent": TRACE}).is_success
    assert [stored.get("traceparent") for stored in bodies(store)] == [TRACE, None, own]


def test_the_signature_of_a_sender_is_not_taken_over(post: Ask, store: Store) -> None:
    assert post(event(keyid="k", signature="s"), JSON).is_success
    (stored,) = bodies(store)
    assert not {"keyid", "signature"} & stored.keys()


def test_data_is_encrypted_as_declared(store: Store, tmp_path: Path) -> None:
    _, public = generate("books", encryption=True)
    (tmp_path / "books.json").write_text(json.dumps(public))
    bus = EventBus(service="billing", trusted_keys=str(tmp_path))
    bus.declare("parcel.sent", Parcel, encrypt_for=["books"])
    app = gateway(bus, tokens=[PARTNER])
    content = event(data={"number": 7, "name": "Ann"})
    assert ask(app, "POST", "/events", content=content, headers={**AUTHORIZED, **JSON}).is_success
    (stored,) = bodies(store)
    assert stored["datacontenttype"] == "application/jose+json"
    assert "Ann" not in json.dumps(stored)


def test_without_the_key_to_encrypt_it_nothing_is_accepted(store: Store) -> None:
    bus = EventBus(service="billing")
    bus.declare("parcel.sent", Parcel, encrypt_for=["books"])
    app = gateway(bus, tokens=[PARTNER])
    content = event(data={"number": 7})
    answer = ask(app, "POST", "/events", content=content, headers={**AUTHORIZED, **JSON})
    assert (answer.status_code, "books" in answer.text) == (500, False)
    assert bodies(store) == []


def test_a_secret_can_be_rotated_and_stored_as_a_digest(bus: EventBus, store: Store) -> None:
    digest = "sha256:" + hashlib.sha256(b"new-secret-of-32-characters-or-so").hexdigest()
    secrets = [SECRET, digest]
    app = gateway(bus, tokens=[Token("partner", lambda: secrets, ["#"], "/partner")])

    def status(secret: str) -> int:
        headers = {**JSON, "authorization": f"bearer {secret}"}
        return ask(app, "POST", "/events", content=event(), headers=headers).status_code

    assert status(SECRET) == status("new-secret-of-32-characters-or-so") == 202
    assert status(digest) == 401
    secrets.remove(SECRET)
    assert status(SECRET) == 401
