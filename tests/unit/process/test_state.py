"""The state is read in every version, and never written over by older code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from sqlalchemy import Engine, MetaData, update

from celeriac import Event, EventBus, InvalidData, Sensitive
from celeriac.contract import contract, upcast
from celeriac.contract.versions import contracts_of
from celeriac.outbox.database import open_database
from celeriac.process import Process, on, starts
from celeriac.process.state import NewerState, StateForm
from celeriac.process.table import process_tables
from tests.unit.process.conftest import bench_on


class Flow(msgspec.Struct):
    amount: int = 0
    currency: str = "EUR"


@pytest.fixture
def flow() -> None:
    """Declare Flow as version 2, with an upcaster from version 1."""
    contract("test_state.flow", version=2)(Flow)

    @upcast("test_state.flow", 1)
    def to_2(data: Any) -> Any:
        return {"amount": data["cents"], "currency": "USD"}


@dataclass
class Plain:
    cents: int = 0


class Model(pydantic.BaseModel):
    cents: int = 0


def form(model: Any) -> StateForm:
    contracts = contracts_of(model)
    return StateForm(model, contracts[0] if contracts else None, "flow")


@pytest.mark.parametrize("model", [Plain, Model])
def test_any_model_is_written_and_read(model: Any) -> None:
    states = form(model)
    raw = states.write(model(cents=7), "42")
    assert states.read(raw, states.version, "42") == model(cents=7)
    assert states.new() == model()


def test_the_paths_of_sensitive_fields_are_known() -> None:
    class Card(msgspec.Struct):
        number: Annotated[str, Sensitive] = ""
        cents: int = 0

    assert ("number", "") == (form(Card).sensitive, form(Plain).sensitive)


@pytest.mark.usefixtures("flow")
def test_an_older_version_is_upcast() -> None:
    assert form(Flow).read(b'{"cents":5}', 1, "42") == Flow(5, "USD")


@pytest.mark.usefixtures("flow")
def test_a_newer_version_waits_for_newer_code() -> None:
    with pytest.raises(NewerState, match=r"has version 3 of test_state\.flow.*reads version 2"):
        form(Flow).read(b'{"amount":5}', 3, "42")


def test_a_state_that_does_not_fit_is_refused_without_its_values() -> None:
    with pytest.raises(InvalidData) as raised:
        form(Plain).read(b'{"cents":"secret"}', 1, "42")
    assert "secret" not in str(raised.value)


@pytest.mark.usefixtures("flow")
def test_a_stored_state_is_upcast_at_the_next_event(
    bus: EventBus, engine: Engine, database_url: str
) -> None:
    class Flows(Process[Flow], inbox=engine):
        @starts("order.placed")
        def placed(self, event: Event) -> None: ...

        @on("order.priced")
        def priced(self, event: Event) -> None:
            self.state.amount += 1

    bus.process(Flows)
    processes, _, _ = process_tables(MetaData())
    with bench_on(bus, open_database(database_url)) as bench:
        bus.emit("order.placed", subject="42")
        bench.run()
        with engine.begin() as connection:
            connection.execute(update(processes).values(state='{"cents":5}', version=1))
        bus.emit("order.priced", subject="42")
        bench.run()
        found = bench.history(Flows, "42")
    assert found is not None
    assert (found.instance.state, found.instance.version) == (b'{"amount":6,"currency":"USD"}', 2)
