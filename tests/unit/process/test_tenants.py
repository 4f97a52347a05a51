"""The tenant of what a process emits: that of the event that it handles."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine

from celeriac import NO_TENANT, Event, EventBus
from celeriac.dead_letter import Note
from celeriac.process import Process, on, reminded, starts
from celeriac.process.action import request_abort
from celeriac.testing import MemoryBus, in_memory
from tests.unit.process.shop import State


def fulfilment(**attributes: Any) -> type[Process[State]]:
    class Fulfilment(Process[State], inbox=create_engine("sqlite://")):
        @starts("order.placed")
        def placed(self, event: Event) -> None:
            self.emit("payment.asked", undo="payment.refund", **attributes)
            self.remind("unpaid", after=60)

        @on("payment.failed")
        def failed(self, event: Event) -> None:
            self.abort("declined")

        @reminded("unpaid")
        def unpaid(self) -> None:
            self.emit("mail.asked")

    return Fulfilment


def tenants(memory: MemoryBus, *types: str) -> list[str | None]:
    return [event.tenant for event in memory.emitted if event.type in types]


def test_events_reminders_and_what_they_cause_inherit_it(bus: EventBus) -> None:
    bus.process(fulfilment())
    with in_memory(bus) as memory:
        for n, tenant in enumerate(("acme", None)):
            bus.emit("order.placed", subject=f"order/{n}", tenant=tenant)
        memory.run_until_idle()
        memory.assert_no_dead()
        assert tenants(memory, "payment.asked") == ["acme", None]
        assert tenants(memory, "mail.asked") == ["acme", None]


def test_an_undo_has_the_tenant_of_what_it_undoes(bus: EventBus) -> None:
    bus.process(fulfilment(tenant="bank"))
    with in_memory(bus) as memory:
        bus.emit("order.placed", subject="order/1", tenant="acme")
        memory.run_until_idle(jump=False)
        bus.emit("payment.failed", subject="order/1", tenant="acme")
        memory.run_until_idle(jump=False)
        memory.assert_no_dead()
        assert tenants(memory, "payment.asked", "payment.refund") == ["bank", "bank"]


def test_a_method_can_emit_without_it(bus: EventBus) -> None:
    bus.process(fulfilment(tenant=NO_TENANT))
    with in_memory(bus) as memory:
        bus.emit("order.placed", subject="order/1", tenant="acme")
        memory.run_until_idle(jump=False)
        assert tenants(memory, "payment.asked") == [None]


@pytest.mark.parametrize("limit", ["acme", "globex,acme", ""])
def test_an_operator_aborts_an_instance_of_a_limited_service(limit: str) -> None:
    bus = EventBus(service="billing", tenants=limit)
    process = bus.process(fulfilment())
    with in_memory(bus) as memory:
        bus.emit("order.placed", subject="order/1", tenant="acme")
        memory.run_until_idle(jump=False)
        instance = memory.processes.instances["billing.fulfilment", "order/1"]
        note = Note(actor="ada", did="abort", what="order/1")
        request_abort(memory.store.backend, bus.settings, instance, note)
        memory.run_until_idle(jump=False)
        memory.assert_no_dead()
        assert tenants(memory, "process.abort_requested", "payment.refund") == ["acme", "acme"]
        assert memory.instance(process, "order/1").status == "aborted"
