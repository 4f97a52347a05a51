"""The services of the reference deployment on one bus in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from celeriac import EventBus
from celeriac.contract import VERSIONS
from celeriac.testing import MemoryBus, in_memory
from celeriac.testing.process_instance import ProcessInstance
from handlers.gateway import GOOD_CARD
from tests.declared_contracts import no_contracts

with no_contracts():
    from config.events import OrderPlaced
    from config.services import SERVICES

    CONTRACTS = dict(VERSIONS)
KEPT = {"config.events", "config.services", "handlers.sandbox", "handlers.gateway"}
KEPT |= {"handlers.warehouse"}


@dataclass
class Shop:
    """`modules` are the handlers of each service, imported as its worker imports them."""

    modules: dict[str, ModuleType]
    memory: MemoryBus

    def place(self, number: int = 1, card: str = GOOD_CARD, sku: str = "SKU-000001") -> str:
        """Place an order, and return its key."""
        email = f"customer{number}@example.com"
        order = OrderPlaced(number=number, email=email, card=card, cents=1990, sku=sku)
        key = f"order/{number}"
        self.modules["orders"].bus.emit("order.placed", order, subject=key, id=f"placed-{number}")
        return key

    def emit(self, service: str, type: str, data: object, key: str, id: str | None = None) -> None:
        """Emit an event of a service."""
        self.modules[service].bus.emit(type, data, subject=key, id=id)

    def instance(self, key: str) -> ProcessInstance:
        return self.memory.instance(self.modules["orders"].Fulfilment, key)

    def emitted(self, key: str) -> list[str]:
        """Return the types of the emitted events about an order, in the order of their emits."""
        return [event.type for event in self.memory.emitted if event.subject == key]


@pytest.fixture(autouse=True)
def contracts() -> Iterator[None]:
    """The contracts of the shop, and only they."""
    with no_contracts():
        VERSIONS.update(CONTRACTS)
        yield


@pytest.fixture(scope="session")
def services() -> dict[str, ModuleType]:
    """The module with the handlers of each service, each on a bus of its own."""
    with pytest.MonkeyPatch.context() as patch, no_contracts():
        VERSIONS.update(CONTRACTS)
        before, modules = dict(sys.modules), {}
        for service in SERVICES:
            patch.setenv("CELERIAC_SERVICE", service)
            for name in list(sys.modules):
                if name.partition(".")[0] in ("config", "handlers", "tasks") and name not in KEPT:
                    del sys.modules[name]
            modules[service] = import_module(f"handlers.{service}")
        # Other tests import the modules without a service.
        for name in list(sys.modules):
            if name.partition(".")[0] in ("config", "handlers", "tasks"):
                del sys.modules[name]
        sys.modules.update(before)
    return modules


@pytest.fixture
def shop(
    services: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    """All services on one bus in memory, whose clock jumps; a payment provider and a warehouse."""
    monkeypatch.setenv("SANDBOX_URL", f"sqlite:///{tmp_path}/sandbox.sqlite")
    buses: list[EventBus] = [module.bus for module in services.values()]
    with in_memory(*buses) as memory:
        yield Shop(services, memory)
