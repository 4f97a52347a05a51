"""Whether the handler can read the data, by what workers have registered."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from celeriac.contract import schema_uri
from celeriac.contract.lock import LockedContract, LockedReader
from celeriac.contract.normal_form import digest
from celeriac.contract.schema import read_schema, written_schema
from celeriac.errors import ContractTooNew
from celeriac.event import build_event, decode, encode
from celeriac.explain import (
    BusReader,
    Check,
    CheckResult,
    Explanation,
    explain,
    gather,
    gather_unemitted,
)
from celeriac.tracking import Matrix
from tests.unit.explain.reasons import CHARGE
from tests.unit.tracking.shop import Shop

TYPE = "order.placed"


class Cents(msgspec.Struct):
    cents: int


class Amount(msgspec.Struct):
    amount: int


def locked(model: Any, version: int) -> LockedContract:
    schema = written_schema(model)
    return LockedContract(version=version, digest=digest(schema), owner="orders", schema=schema)


def reader(model: Any, version: int | None, *upcasts: int) -> LockedReader:
    return LockedReader(
        patterns=(TYPE,),
        versions={} if version is None else {TYPE: version},
        upcasts={TYPE: upcasts} if upcasts else {},
        schema=read_schema(model),
    )


def declare(
    shop: Shop,
    *readers: LockedReader,
    contracts: Sequence[LockedContract] = (),
    function: Callable[[Any], Any] = bool,
) -> None:
    """Declare two versions, and a handler with a running worker for each reader."""
    shop.on(CHARGE, TYPE, function=function, retries=0)
    shop.start()
    both = contracts or [locked(Cents, 1), locked(Amount, 2)]
    for reads in readers:
        shop.backend.contracts.declare("billing", {TYPE: both}, {CHARGE: reads})
    [worker] = shop.backend.registry.workers()
    shop.backend.registry.depart(worker.name)
    for n, reads in enumerate(readers):
        shop.backend.registry.heartbeat(
            msgspec.structs.replace(worker, name=f"billing@{n}", reads={CHARGE: reads.digest})
        )


def emit(shop: Shop, data: Any, version: int | None = None) -> str:
    return shop.emit(TYPE, data, dataschema=schema_uri(TYPE, version) if version else None)


def explained(shop: Shop, event_id: str) -> Explanation:
    reading = BusReader(shop.backend, lease_ms=30_000)
    [facts] = gather(reading, Matrix(shop.backend).find(event_id), [CHARGE])
    return explain(facts)


def check_of(shop: Shop, event_id: str, name: str = "contract") -> Check:
    return next(check for check in explained(shop, event_id).checks if check.name == name)


ACCEPTED = [
    (reader(Amount, 2, 1), {"amount": 1}, 2, "version 2, which the handler reads, and its data"),
    (reader(Amount, 2, 1), {"cents": 1}, None, "version 1, which the handler's upcasters convert"),
    (reader(Cents, 1), {"cents": 1, "amount": 1}, 2, "version 2; the handler reads version 1, and"),
    (reader(dict, None), {"amount": 1}, 2, "version 2; the handler names no version, and its data"),
]


@pytest.mark.parametrize(("reads", "data", "version", "text"), ACCEPTED)
def test_the_version_and_the_one_that_the_handler_reads_are_named(
    shop: Shop, reads: LockedReader, data: Any, version: int | None, text: str
) -> None:
    declare(shop, reads)
    id = emit(shop, data, version)
    check = check_of(shop, id)
    assert CheckResult.PASSED is check.result
    assert check.text.startswith(text)
    assert "fetched" == explained(shop, id).decision.name


REFUSED = [
    (reader(Amount, 2), {"cents": 1}, None, "contract", "no upcaster leads from version 1 to 2",
     f'add @upcast("{TYPE}", 1)'),
    (reader(Cents, 1), {"amount": 1}, 2, "contract",
     "version 2; the handler reads version 1: data: 'cents' is a required property",
     f"deploy a worker of {CHARGE} that reads version 2"),
    (reader(Amount, 2, 1), {"amount": "4111"}, 2, "data",
     "version 2, which the handler reads, but data.amount: expected integer, got string",
     "change the data"),
    (reader(Amount, 2, 1), None, 2, "data", "data: expected object, got null", "change the data"),
]  # fmt: skip


@pytest.mark.parametrize(("reads", "data", "version", "name", "text", "remedy"), REFUSED)
def test_data_that_the_handler_cannot_read_decides_before_it_is_fetched(
    shop: Shop, reads: LockedReader, data: Any, version: int | None, name: str, text: str,
    remedy: str,
) -> None:  # fmt: skip
    declare(shop, reads)
    decision = explained(shop, emit(shop, data, version)).decision
    assert (name, CheckResult.FAILED) == (decision.name, decision.result)
    assert text in decision.text and remedy in decision.remedy
    assert "4111" not in decision.text


def test_data_that_cannot_be_decoded_is_named(shop: Shop) -> None:
    declare(shop, reader(Cents, 1))
    body = b'{"specversion":"1.0","id":"1","source":"s","type":"order.placed","data":1e400}'
    shop.backend.event_log.append("order", body)
    decision = explained(shop, "1").decision
    assert CheckResult.FAILED is decision.result
    assert "data: cannot be read" in decision.text


def test_during_a_deploy_it_depends_on_the_worker(shop: Shop) -> None:
    declare(shop, reader(Cents, 1), reader(Amount, 2, 1))
    decision = explained(shop, emit(shop, {"amount": 1}, 2)).decision
    assert ("contract", CheckResult.UNKNOWN) == (decision.name, decision.result)
    assert decision.text.startswith("1 of 2 workers cannot read it: version 2; the handler reads")


def test_without_a_running_worker_the_last_registered_reader_counts(shop: Shop) -> None:
    declare(shop, reader(Cents, 1))
    shop.backend.registry.depart("billing@0")
    assert "contract" == explained(shop, emit(shop, {"amount": 1}, 2)).decision.name


def test_a_dead_letter_shows_whether_it_can_be_redriven_now(shop: Shop) -> None:
    def refuse(_: object) -> None:
        raise ContractTooNew("version 2 of order.placed")

    declare(shop, reader(Cents, 1), function=refuse)
    id = emit(shop, {"amount": 1}, 2)
    shop.run_until_idle()
    decision = explained(shop, id).decision
    assert "registered readers cannot read it yet" in decision.text
    assert decision.remedy.startswith(f"deploy a worker of {CHARGE} that reads version 2, then: ")
    new = reader(Amount, 2, 1)
    shop.backend.contracts.declare("billing", {}, {CHARGE: new})
    [worker] = shop.backend.registry.workers()
    shop.backend.registry.heartbeat(msgspec.structs.replace(worker, reads={CHARGE: new.digest}))
    decision = explained(shop, id).decision
    assert decision.text.endswith("registered readers can read it now")
    assert decision.remedy.startswith("celeriac dead redrive order/")


def test_a_processed_event_has_no_check_of_its_contract(shop: Shop) -> None:
    declare(shop, reader(Amount, 2, 1))
    id = emit(shop, {"amount": 1}, 2)
    shop.run_until_idle()
    assert "contract" not in {check.name for check in explained(shop, id).checks}


def test_without_any_contract_only_data_that_does_not_match_is_reported(shop: Shop) -> None:
    declare(shop, reader(dict, None), contracts=[locked(Cents, 1)])
    shop.emit("order.paid")
    untyped = emit(shop, {"cents": 1})
    assert "names no version" in check_of(shop, untyped).text
    other = Shop(shop.backend, shop.settings)
    other.on("mail.send", "order.paid")
    other.start()
    id = other.emit("order.paid", {"n": 1})
    reads = LockedReader(patterns=("order.paid",), schema=read_schema(Cents))
    shop.backend.contracts.declare("mail", {}, {"mail.send": reads})
    reading = BusReader(shop.backend, lease_ms=30_000)
    [facts] = gather(reading, Matrix(shop.backend).find(id), ["mail.send"])
    decision = explain(facts).decision
    assert ("data", CheckResult.FAILED) == (decision.name, decision.result)
    assert "'cents' is a required property" in decision.text


def test_without_jsonschema_only_versions_are_compared(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    declare(shop, reader(Cents, 1))
    same = check_of(shop, emit(shop, {"cents": "no"}, 1))
    assert "version 1, which the handler reads" == same.text
    newer = check_of(shop, emit(shop, {"amount": 1}, 2))
    assert CheckResult.PASSED is newer.result
    assert "pip install 'celeriac[contracts]'" in newer.text


def test_encrypted_data_is_compared_by_its_version(shop: Shop) -> None:
    declare(shop, reader(Cents, 1))
    id = shop.emit(TYPE, {"x": 1}, datacontenttype="application/jose+json")
    assert "version 1, which the handler reads" == check_of(shop, id).text


@pytest.mark.parametrize(
    ("data", "version", "decision"),
    [
        ({"amount": 1}, None, "delivered"),
        ({"cents": 1}, None, "data"),
        ({"cents": 1}, 1, "delivered"),
        (None, None, "delivered"),
    ],
)
def test_a_described_event_has_the_newest_version_unless_another_is_given(
    shop: Shop, data: Any, version: int | None, decision: str
) -> None:
    declare(shop, reader(Amount, 2, 1))
    uri = schema_uri(TYPE, version) if version else None
    event = decode(encode(build_event(TYPE, data, source="shop", dataschema=uri)))
    [facts] = gather_unemitted(BusReader(shop.backend, lease_ms=1), event, [CHARGE])
    assert decision == explain(facts).decision.name
