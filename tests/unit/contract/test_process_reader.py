"""A process reads each type as the annotation of its method: what is locked, checked and found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine

from celeriac import Event, EventBus
from celeriac.contract import contract
from celeriac.contract.lock import (
    InvalidLock,
    Lock,
    LockedReader,
    decode_lock,
    encode_lock,
    lock_of,
    locked_reader,
)
from celeriac.contract.normal_form import digest
from celeriac.contract.registered import Fit, fit_of
from celeriac.contract.schema import read_schema, written_schema
from celeriac.event import build_event, decode, encode
from celeriac.handler import Handler
from celeriac.process import Process, on, starts
from tests.declared_contracts import no_contracts


class Placed(msgspec.Struct):
    cents: int


class Paid(msgspec.Struct):
    receipt: str


class Order(Process[dict[str, int]], inbox=create_engine("sqlite://"), name="order"):
    @starts("order.placed")
    def placed(self, event: Event[Placed]) -> None: ...

    @on("payment.captured")
    def paid(self, event: Event[Paid]) -> None: ...

    @on("payment.*")
    def other(self, event: Event) -> None: ...


@pytest.fixture(autouse=True)
def contracts() -> Iterator[None]:
    with no_contracts():
        yield


@pytest.fixture
def process() -> Handler:
    bus = EventBus(service="orders", redis_url="redis://127.0.0.1:1/0")
    bus.process(Order)
    return bus.service.handlers["orders.order"]


def test_each_type_is_read_as_its_first_method_declares(process: Handler) -> None:
    assert process.data_type_of("order.placed") is Placed
    assert process.data_type_of("payment.captured") is Paid
    assert process.data_type_of("payment.declined") is Any
    assert process.data_type_of("process.reminded") is process.data_type


def test_the_lock_has_a_reader_for_each_method(process: Handler) -> None:
    contract("order.placed", version=2)(Placed)
    reads = locked_reader(process)
    assert process.patterns == reads.patterns
    placed, paid, other = reads.methods
    assert (("order.placed",), {"order.placed": 2}) == (placed.patterns, placed.versions)
    assert read_schema(Placed) == placed.schema and read_schema(Paid) == paid.schema
    assert {} == other.schema
    assert reads.of("payment.captured") is paid and reads.of("payment.declined") is other
    assert reads.of("process.abort_requested") is reads


def test_a_lock_with_methods_is_read_as_it_was_written(process: Handler) -> None:
    lock = lock_of("orders", [process])
    assert lock == decode_lock(encode_lock(lock), "orders.json")


def test_an_invalid_pattern_of_a_method_is_refused() -> None:
    methods = (LockedReader(patterns=("order..placed",)),)
    reads = LockedReader(patterns=("order.placed",), methods=methods)
    with pytest.raises(InvalidLock, match=r"orders\.json is not a valid lock file"):
        decode_lock(
            encode_lock(Lock(service="orders", readers={"orders.order": reads})), "orders.json"
        )


def test_another_type_of_a_method_is_another_digest(process: Handler) -> None:
    reads = locked_reader(process)
    changed = msgspec.structs.replace(reads, methods=reads.methods[:1])
    assert reads.digest != changed.digest


def test_an_event_is_judged_by_its_method(process: Handler) -> None:
    def event(type_: str, data: Any) -> Any:
        return decode(encode(build_event(type_, data, source="billing")))

    reads = locked_reader(process)
    assert fit_of(reads, event("payment.captured", {"receipt": "r"})).fit is Fit.READS
    assert fit_of(reads, event("payment.captured", {"cents": 1})).fit is Fit.MISMATCH
    assert fit_of(reads, event("payment.declined", {"cents": 1})).fit is Fit.READS
    assert fit_of(reads, event("order.placed", {"receipt": "r"})).fit is Fit.MISMATCH


@pytest.mark.parametrize("is_code", [True, False], ids=["code", "lock"])
def test_a_version_that_a_method_rejects_is_a_break(process: Handler, is_code: bool) -> None:
    pytest.importorskip("jsoncompat")
    from celeriac.contract.judgement import HandlerReader, Writer, judge

    reader = HandlerReader(
        "orders.order", "orders", "code", locked_reader(process), process.data_type_of, is_code
    )

    def writer(type_: str, model: Any) -> Writer:
        schema = written_schema(model)
        return Writer(type_, 1, schema, digest(schema), "code")

    judgement = judge([writer("payment.captured", Paid), writer("order.placed", Placed)], [reader])
    assert (0, 2) == (len(judgement.breaks), len(judgement.fine))
    [found] = judge([writer("payment.captured", Placed)], [reader]).breaks
    assert ("payment.captured v1", "orders.order") == (found.writer.title, found.reader.handler)
    assert "receipt" in found.reason and "cents" in found.example
    assert [] == judge([writer("payment.declined", Placed)], [reader]).breaks
