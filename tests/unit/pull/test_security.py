"""Signed and encrypted events of pull handlers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.delivery import DeliveryState
from celeriac.pull.pull_handlers import PullHandlers
from celeriac.security.generate import generate
from tests.unit.pull.conftest import INDEX, PullBus, id_of, ids_of


def key(id: str, **options: Any) -> tuple[str, str]:
    private, public = generate(id, **options)
    return json.dumps(private), json.dumps(public)


def other_bus(pull: PullBus, service: str, **settings: Any) -> EventBus:
    bus = EventBus(
        service=service,
        redis_url=pull.settings.redis_url,
        namespace=pull.settings.namespace,
        **settings,
    )
    bus.service.backend = pull.backend
    return bus


@pytest.fixture
def signed(pull: PullBus) -> tuple[EventBus, PullHandlers]:
    """A producer that signs, and a gateway that trusts it."""
    private, public = key("shop", sources=["shop"], types=["order.*"])
    shop = other_bus(pull, "shop", signing_key=private)
    gateway = PullHandlers(
        other_bus(pull, "gateway", trusted_keys=public).service, lambda: pull.now
    )
    return shop, gateway


def test_a_handler_that_requires_signatures_gets_only_signed_events(
    pull: PullBus, signed: tuple[EventBus, PullHandlers]
) -> None:
    shop, gateway = signed
    gateway.register(INDEX, {"patterns": ["order.*"], "signed": True})
    forged = pull.emit()
    genuine = shop.emit("order.placed")
    assert ids_of(list(gateway.fetch(INDEX, 10).deliveries)) == [genuine]
    [dead] = pull.backend.deliveries.dead("order")
    assert dead.event_key == pull.key(forged)
    assert dead.error.startswith("UntrustedEvent: ")


def test_a_copy_of_a_signed_event_is_not_delivered_again(
    pull: PullBus, signed: tuple[EventBus, PullHandlers]
) -> None:
    shop, gateway = signed
    gateway.register(INDEX, {"patterns": ["order.*"], "signed": True})
    shop.emit("order.placed")
    [entry] = pull.backend.event_log.read("order")
    [delivery] = gateway.fetch(INDEX, 10).deliveries
    pull.append("order", entry.body or b"")
    assert list(gateway.fetch(INDEX, 10).deliveries) == []
    assert pull.complete(delivery, handlers=gateway).state is DeliveryState.PROCESSED
    pull.pass_time(60)
    assert list(gateway.fetch(INDEX, 10).deliveries) == []


def test_encrypted_data_reaches_the_client_encrypted(pull: PullBus) -> None:
    _, public = key("search", encryption=True)
    shop = other_bus(pull, "shop", trusted_keys=public)
    pull.register()
    id = shop.emit("order.placed", {"card": "4111"}, encrypt_for=["search"])
    [delivery] = pull.fetch()
    assert id_of(delivery) == id
    assert b"4111" not in delivery.event
    assert isinstance(json.loads(delivery.event)["data"], dict | str)
    assert pull.complete(delivery).state is DeliveryState.PROCESSED
