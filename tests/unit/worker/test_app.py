from __future__ import annotations

from typing import Any

from celeriac.settings import Settings
from celeriac.worker import make_app


def transport_options(**given: Any) -> dict[str, Any]:
    app = make_app(Settings.load({}, service="billing", **given))
    options: dict[str, Any] = app.conf.broker_transport_options
    return options


def test_queues_are_named_as_the_service_alone() -> None:
    """So that an operator, or KEDA, finds the list `billing`."""
    assert "global_keyprefix" not in transport_options()


def test_the_queues_of_another_namespace_are_others() -> None:
    """Else the hints of two buses on one Redis would cross over, and wait for their leases."""
    assert transport_options(namespace="staging")["global_keyprefix"] == "staging:"


def test_other_brokers_get_no_options_of_redis() -> None:
    assert transport_options(namespace="staging", broker_url="amqp://localhost") == {}
