"""The promises of ContractStore."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from celeriac.contract.lock import LockedContract, LockedReader
from celeriac.contract.normal_form import digest
from celeriac.contract.store import ContractChanged, ContractStore, StoredContract
from celeriac.settings import Settings
from celeriac.store.memory.contracts import MemoryContracts
from celeriac.store.redis.contracts import RedisContracts
from tests.contract.store import MemoryStore, RedisStore, Store


def locked(version: int = 1, **fields: str) -> LockedContract:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in fields.items()},
        "required": sorted(fields),
    }
    return LockedContract(version=version, digest=digest(schema), schema=schema)


CENTS, AMOUNT = locked(cents="integer"), locked(amount="integer")
READS = LockedReader(patterns=("order.placed",), versions={"order.placed": 1})
STORED = StoredContract(type="order.placed", service="orders", declared_ms=5, contract=CENTS)
FORGED = msgspec.structs.replace(CENTS, digest=AMOUNT.digest)


@pytest.fixture
def contracts(store: Store, namespace: str) -> ContractStore:
    if isinstance(store, MemoryStore):
        return MemoryContracts(store.clock)
    assert isinstance(store, RedisStore)
    settings = Settings.load({}, namespace=namespace)
    return RedisContracts(settings, store.client, store.invalid)


def test_what_is_declared_is_known_in_the_order_of_versions(contracts: ContractStore) -> None:
    contracts.declare("orders", {"order.placed": [locked(10, a="string"), locked(2)]}, {})
    contracts.declare("orders", {"order.placed": [CENTS]}, {"billing.charge": READS})
    assert [1, 2, 10] == [one.contract.version for one in contracts.contracts()]
    first = contracts.contracts()[0]
    assert ("orders", CENTS) == (first.service, first.contract)
    assert first.declared_ms > 0
    assert {"billing.charge": {READS.digest: READS}} == contracts.readers()
    assert (contracts.contracts(), contracts.readers()) == contracts.contracts_and_readers()


def test_declaring_the_same_again_changes_nothing(contracts: ContractStore) -> None:
    contracts.declare("orders", {"order.placed": [CENTS]}, {})
    before = contracts.contracts()
    contracts.declare("other", {"order.placed": [CENTS]}, {})
    assert before == contracts.contracts()


def test_owner_and_deprecation_follow_the_last_worker(contracts: ContractStore) -> None:
    contracts.declare("orders", {"order.placed": [CENTS]}, {})
    changed = msgspec.structs.replace(CENTS, deprecated="use order.placed v2")
    contracts.declare("orders", {"order.placed": [changed]}, {})
    assert changed == contracts.contracts()[0].contract


def test_another_schema_under_the_same_number_is_refused_and_nothing_is_written(
    contracts: ContractStore,
) -> None:
    contracts.declare("orders", {"order.placed": [CENTS]}, {})
    with pytest.raises(ContractChanged) as raised:
        contracts.declare(
            "billing",
            {"order.paid": [locked()], "order.placed": [AMOUNT]},
            {"billing.charge": READS},
        )
    message = str(raised.value)
    assert "order.placed version 1 differs from the one that orders declared" in message
    assert "field cents removed; field amount added: integer" in message
    assert "version=2" in message
    assert "@upcast('order.placed', 1)" in message
    assert "owner='orders'" in message
    assert [CENTS] == [one.contract for one in contracts.contracts()]
    assert {} == contracts.readers()


def test_readers_of_two_versions_of_the_code_are_both_known(contracts: ContractStore) -> None:
    newer = msgspec.structs.replace(READS, versions={"order.placed": 2})
    contracts.declare("billing", {}, {"billing.charge": READS})
    contracts.declare("billing", {}, {"billing.charge": newer, "billing.book": READS})
    assert {READS.digest, newer.digest} == set(contracts.readers()["billing.charge"])
    contracts.forget_readers("billing.charge", [newer.digest])
    assert {newer.digest} == set(contracts.readers()["billing.charge"])
    assert {READS.digest} == set(contracts.readers()["billing.book"])


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("contract:order.placed:1", b"{", "truncated"),
        ("contract:order.placed:1", b"null", "object"),
        ("reader:billing.charge:abc", b'{"patterns":["#"]}', "does not match its field's name"),
        ("reader:billing.charge:abc", b'{"patterns":["a..b"]}', "segment"),
        ("other", b"{}", "neither a contract nor a reader"),
        (f"reader:no name:{READS.digest}", msgspec.json.encode(READS), "no name"),
        (f"reader:b.c:x:{READS.digest}", msgspec.json.encode(READS), "does not match"),
        (f"reader:b.c:{READS.digest}:x", msgspec.json.encode(READS), "does not match"),
        *(
            (name, msgspec.json.encode(msgspec.structs.replace(STORED, **fields)), fault)
            for name, fields, fault in (
                ("contract:order.placed:2", {}, "another version, contract:order.placed:1"),
                ("contract:no type:1", {"type": "no type"}, "no type"),
                ("contract:order.placed:1", {"declared_ms": -1}, "`declared_ms`"),
                ("contract:order.placed:1", {"contract": FORGED}, "`digest` does not match"),
            )
        ),
    ],
)
def test_records_that_cannot_be_read_are_skipped_and_reported(
    contracts: ContractStore, store: Store, name: str, value: bytes, fault: str
) -> None:
    if not isinstance(store, RedisStore):
        pytest.skip("memory holds objects")
    contracts.declare("orders", {"order.paid": [CENTS]}, {"billing.book": READS})
    store.client.execute_command("HSET", store.keys.contracts, name, value)
    assert [CENTS] == [one.contract for one in contracts.contracts()]
    assert {"billing.book"} == set(contracts.readers())
    (invalid,) = store.invalid
    assert (store.keys.contracts, name) == (invalid.key, invalid.field)
    assert fault in invalid.fault


def test_a_key_of_another_type_is_reported_and_holds_no_contracts(
    contracts: ContractStore, store: Store
) -> None:
    if not isinstance(store, RedisStore):
        pytest.skip("memory has no keys")
    store.client.execute_command("SET", store.keys.contracts, "x")
    assert [] == contracts.contracts()
    contracts.declare("orders", {"order.paid": [CENTS]}, {})
    assert store.keys.contracts in {one.key for one in store.invalid}


@pytest.mark.parametrize("first", [CENTS, AMOUNT])
def test_of_two_workers_that_declare_a_version_the_first_wins(
    contracts: ContractStore, monkeypatch: pytest.MonkeyPatch, first: LockedContract
) -> None:
    if not isinstance(contracts, RedisContracts):
        pytest.skip("memory has no other workers")
    call = contracts._call

    def declared_before(command: str, *arguments: Any) -> Any:
        if command == "HSETNX":
            stored = msgspec.structs.replace(STORED, service="other", contract=first)
            call(command, arguments[0], msgspec.json.encode(stored))
        return call(command, *arguments)

    monkeypatch.setattr(contracts, "_call", declared_before)
    if first is CENTS:
        contracts.declare("orders", {"order.placed": [CENTS]}, {})
    else:
        with pytest.raises(ContractChanged, match="other declared"):
            contracts.declare("orders", {"order.placed": [CENTS]}, {})
    assert [("other", first)] == [(one.service, one.contract) for one in contracts.contracts()]
