"""The commands that document contracts, on a bus in memory and on lock files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator

from celeriac.contract import VERSIONS
from celeriac.contract.lock import Lock, LockedContract, LockedReader, encode_lock
from celeriac.contract.normal_form import digest
from celeriac.contract.schema import read_schema, written_schema
from celeriac.event import decode
from tests.declared_contracts import no_contracts
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop


class Placed(msgspec.Struct):
    """An order."""

    number: int


OFFICIAL = Path(__file__).parents[1] / "contract" / "asyncapi" / "3.0.0.json"
ASYNCAPI = Draft7Validator(json.loads(OFFICIAL.read_text()))
SCHEMA = written_schema(Placed)
PLACED = LockedContract(
    version=2, digest=digest(SCHEMA), owner="orders", deprecated="use sale.made", schema=SCHEMA
)
READS = LockedReader(patterns=("order.*",), schema=read_schema(Placed))


def write_locks(directory: Path) -> str:
    for lock in (
        Lock(service="orders", contracts={"order.placed": (PLACED,)}),
        Lock(service="billing", readers={"billing.charge": READS}),
    ):
        (directory / f"{lock.service}.json").write_bytes(encode_lock(lock))
    return str(directory)


def test_the_list_of_an_empty_bus_explains_how_contracts_are_declared(run: Run) -> None:
    assert "A worker declares" in run("contracts", "list").out


def test_the_list_has_versions_owner_and_readers(run: Run, shop: Shop) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    shop.emit("order.placed", {"number": 1})
    shop.backend.contracts.declare("orders", {"order.placed": [PLACED]}, {"billing.charge": READS})
    line = run("contracts", "list").out.splitlines()[1].split()
    assert ["order.placed", "v2", "orders"] == line[:3]
    assert "billing.charge" in line
    (event,) = run("contracts", "list", "--json").json
    assert ("order.placed", "orders", "use sale.made") == (
        event["type"],
        event["owner"],
        event["deprecated"],
    )
    assert 2 == event["versions"][0]["version"]
    assert event["last_seen"] is not None


def test_asyncapi_describes_the_lock_files(run: Run, tmp_path: Path) -> None:
    said = run("contracts", "asyncapi", "--dir", write_locks(tmp_path), "--title", "Shop")
    document: Any = json.loads(said.out)
    ASYNCAPI.validate(document)
    assert ("3.0.0", "Shop") == (document["asyncapi"], document["info"]["title"])
    assert "receive.order.placed.billing.charge" in document["operations"]


def test_asyncapi_describes_what_runs(run: Run, shop: Shop) -> None:
    shop.backend.contracts.declare("orders", {"order.placed": [PLACED]}, {})
    document = json.loads(run("contracts", "asyncapi", "--registry").out)
    ASYNCAPI.validate(document)
    assert ["order.placed.v2"] == list(document["components"]["messages"])


def test_asyncapi_describes_the_code_of_a_service(
    run: Run, tmp_path: Path, write: Callable[[str, str], str]
) -> None:
    arguments = ["-A", write("described_orders", "number"), "--dir", write_locks(tmp_path)]
    document = json.loads(run("contracts", "asyncapi", *arguments).out)
    ASYNCAPI.validate(document)
    # The code takes the place of the lock file of orders, which has version 2.
    assert "order.placed.v1" in document["components"]["messages"]
    assert "receive.order.placed.billing.charge" in document["operations"]


def test_the_documents_of_the_shop_are_valid(run: Run, tmp_path: Path) -> None:
    locks = str(Path(__file__).parents[3] / "contracts")
    ASYNCAPI.validate(json.loads(run("contracts", "asyncapi", "--dir", locks).out))
    page = tmp_path / "events.html"
    run("contracts", "catalog", "--dir", locks, "--html", str(page))
    assert "product.repriced" in page.read_text()


def test_the_catalog_is_written_as_one_page(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "site" / "events.html"
    said = run("contracts", "catalog", "--dir", write_locks(tmp_path), "--html", str(page))
    assert "events.html written: 1 event type." in said.out
    assert "billing.charge" in page.read_text()
    assert "use sale.made" in page.read_text()


def test_broken_lock_files_end_each_command_with_exit_code_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "orders.json").write_text("{")
    for command in (["check"], ["asyncapi"], ["catalog", "--html", str(tmp_path / "x.html")]):
        said = run("contracts", *command, "--dir", str(tmp_path))
        assert 2 == said.exit_code
        assert "orders.json is not a valid lock file" in said.err
    assert not (tmp_path / "x.html").exists()


CODE = """
import msgspec

from celeriac import Event, EventBus
from celeriac.contract import contract

bus = EventBus(service="orders")


@contract("order.placed", owner="orders")
class Placed(msgspec.Struct):
    {field}: int
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Write the code of a service, and return the name of its module."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(module: str, field: str) -> str:
        (tmp_path / f"{module}.py").write_text(CODE.format(field=field))
        VERSIONS.clear()
        return module

    with no_contracts():
        yield write


def test_a_service_without_a_worker_declares_its_contracts_by_command(
    run: Run, shop: Shop, write: Callable[[str, str], str]
) -> None:
    module = write("declared_orders", "number")
    for _ in range(2):
        answer = run("contracts", "declare", "-A", module)
        assert "1 version of 1 event type declared by orders." in answer.out
    [stored] = shop.backend.contracts.contracts()
    assert ("order.placed", "orders", 1) == (stored.type, stored.service, stored.contract.version)


def test_a_version_cannot_be_declared_with_another_schema(
    run: Run, shop: Shop, write: Callable[[str, str], str]
) -> None:
    run("contracts", "declare", "-A", write("first_orders", "number"))
    before = shop.backend.contracts.contracts()
    answer = run("contracts", "declare", "-A", write("other_orders", "no"))
    assert 2 == answer.exit_code
    assert "order.placed version 1 differs from the one that orders declared" in answer.err
    assert "field number removed; field no added: integer" in answer.err
    assert before == shop.backend.contracts.contracts()


def test_declaring_needs_a_module(run: Run) -> None:
    answer = run("contracts", "declare")
    assert 2 == answer.exit_code
    assert "Pass -A package.module" in answer.err


def test_emitting_data_of_a_type_with_later_versions_needs_its_version(
    run: Run, shop: Shop
) -> None:
    shop.backend.contracts.declare("orders", {"order.placed": [PLACED]}, {})
    answer = run("emit", "order.placed", '{"number": 1}')
    assert 2 == answer.exit_code
    assert "--version is missing: order.placed has version 2." in answer.err
    assert 0 == shop.backend.event_log.length("order")
    assert 0 == run("emit", "order.placed", '{"number": 1}', "--version", "2").exit_code
    [entry] = shop.backend.event_log.read("order")
    assert "urn:celeriac:order.placed:2" == decode(entry.body or b"").dataschema
    assert 0 == run("emit", "order.paid", "{}").exit_code
