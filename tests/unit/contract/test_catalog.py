"""The catalog: owners, readers and versions; as AsyncAPI and as a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Optional

import msgspec
import pytest

from celeriac.contract.asyncapi import asyncapi_document
from celeriac.contract.catalog import Seen, VersionInfo, make_catalog
from celeriac.contract.catalog_page import catalog_page
from celeriac.contract.judgement import HandlerReader
from celeriac.contract.lock import LockedContract, LockedReader
from celeriac.contract.normal_form import digest
from celeriac.contract.schema import read_schema, written_schema
from celeriac.event import build_event, encode
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.settings import Settings
from celeriac.store.factory import Backend
from celeriac.tracking.contracts import read_catalog
from tests.unit.tracking.shop import memory_backend

SCHEMA = json.loads((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_text())
jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("jsoncompat")


class Cents(msgspec.Struct):
    cents: int


class Amount(msgspec.Struct):
    amount: int
    pair: tuple[int, str] = (1, "a")


class Node(msgspec.Struct):
    name: str
    next: Optional[Node] = None  # noqa: UP045 - a forward reference


def locked(model: Any, version: int, **more: Any) -> LockedContract:
    schema = written_schema(model)
    return LockedContract(version=version, digest=digest(schema), schema=schema, **more)


def reads(model: Any, *patterns: str, **more: Any) -> LockedReader:
    return LockedReader(patterns=patterns, schema=read_schema(model), **more)


VERSIONS = [
    ("order.placed", VersionInfo(locked(Cents, 1, removed=True), "orders")),
    ("order.placed", VersionInfo(locked(Amount, 2, doc="An order <b>"), "orders", 7)),
    ("tree.grown", VersionInfo(locked(Node, 1, owner="trees", deprecated="use forest"), "orders")),
]
READERS = [
    HandlerReader(
        "billing.charge", "billing", "lock", reads(Cents, "order.placed"), workers=("w",)
    ),
    HandlerReader("books.count", "books", "lock", reads(Any, "#", versions={"order.placed": 2})),
]


def test_each_event_has_its_versions_its_owner_and_its_readers() -> None:
    order, tree = make_catalog(VERSIONS, READERS, {"order.placed": Seen(3, 9)})
    assert ("orders", [1, 2], 2) == (
        order.owner,
        [one.contract.version for one in order.versions],
        order.newest.contract.version if order.newest else 0,
    )
    assert {"amount": 1, "pair": [1, "text"]} == order.versions[-1].example
    charge, count = order.consumers
    assert ("billing.charge", 0, ("w",)) == (charge.handler, charge.version, charge.workers)
    assert "'cents' is a required property" in charge.fault
    assert ("books.count", 2, "") == (count.handler, count.version, count.fault)
    assert [charge] == order.broken
    assert ("trees", "use forest") == (tree.owner, tree.deprecated)
    assert ["books.count"] == [one.handler for one in tree.consumers]


def test_events_without_a_contract_are_in_it_and_not_judged() -> None:
    (event,) = make_catalog([], READERS, {"mail.sent": Seen(1, 2)})
    assert (None, "", [False]) == (
        event.newest,
        event.owner,
        [one.is_judged for one in event.consumers],
    )


def test_the_document_is_valid_by_the_official_schema_of_asyncapi() -> None:
    catalog = make_catalog(VERSIONS, READERS)
    document = asyncapi_document(catalog, title="Shop", host="redis:6379")
    jsonschema.Draft7Validator(SCHEMA).validate(document)
    assert {"order.placed", "tree.grown"} == set(document["channels"])
    assert ["order.placed.v1", "order.placed.v2"] == list(
        document["channels"]["order.placed"]["messages"]
    )
    receive = document["operations"]["receive.order.placed.billing.charge"]
    assert ("receive", [{"name": "billing"}]) == (receive["action"], receive["tags"])
    schemas = document["components"]["schemas"]
    assert {"$ref": "#/components/schemas/tree.grown.v1.Node"} in schemas["tree.grown.v1"][
        "properties"
    ]["next"]["anyOf"]
    assert [{"type": "integer"}, {"type": "string"}] == schemas["order.placed.v2"]["properties"][
        "pair"
    ]["items"]


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = asyncapi_document(make_catalog(VERSIONS, READERS), title="Shop")
    left: list[Any] = [document]
    found = 0
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
            if isinstance(reference := value.get("$ref"), str):
                found += 1
                at: Any = document
                for part in reference.removeprefix("#/").split("/"):
                    at = at[part]
        elif isinstance(value, list):
            left += value
    assert found > 8


def test_an_empty_catalog_is_a_valid_document_too() -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(asyncapi_document([], title="Nothing"))


class Checker(HTMLParser):
    """Which tags are open, and which text is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_all_of_it_and_escapes_what_people_wrote() -> None:
    page = catalog_page(make_catalog(VERSIONS, READERS), title="A & <i>B", made_ms=0)
    checker = Checker()
    checker.feed(page)
    assert "b" not in checker.tags
    assert "i" not in checker.tags
    assert "script" not in checker.tags
    for text in (
        "A & <i>B",
        "An order <b>",
        "field cents removed; field amount added: integer",
        "breaks: data: 'cents' is a required property",
        "use forest",
        "no longer in code",
    ):
        assert text in checker.text


def backend() -> Backend:
    made = memory_backend(Settings.load({}))
    known = reads(Cents, "order.placed")
    made.contracts.declare(
        "orders", {"order.placed": [locked(Amount, 2)]}, {"billing.charge": known}
    )
    worker = WorkerRecord(
        name="billing@h", service="billing", hostname="h", pid=1, pool="solo", processes=1,
        queues=(), version="1", handlers=("billing.charge",),
        reads={"billing.charge": known.digest},
    )  # fmt: skip
    made.registry.heartbeat(worker)
    for name, pattern in (("old.code", "order.#"), ("billing.charge", "order.placed")):
        service = name.partition(".")[0]
        made.registry.register(
            HandlerRecord(id=name, service=service, patterns=(pattern,), queue=service)
        )
    return made


def test_the_live_catalog_has_workers_counts_and_handlers_of_older_workers() -> None:
    made = backend()
    made.event_log.register_domains(["order"])
    for type_ in ("order.placed", "order.paid"):
        made.event_log.append("order", encode(build_event(type_, {}, source="s")))
    made.event_log.note_emitted(["order.placed"] * 3)
    paid, placed = read_catalog(made)
    assert ("order.paid", 0) == (paid.type, paid.seen.emitted)
    assert ("order.placed", 3) == (placed.type, placed.seen.emitted)
    assert placed.seen.last_ms > 0
    charge, old = placed.consumers
    assert (("billing@h",), True) == (charge.workers, bool(charge.fault))
    assert ("old.code", (), 0, False) == (old.handler, old.workers, old.version, old.is_judged)
    assert ["old.code"] == [one.handler for one in paid.consumers]
