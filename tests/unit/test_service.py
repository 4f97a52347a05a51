"""A service and its handlers."""

from __future__ import annotations

import functools

import pytest

from celeriac import Event
from celeriac.errors import SubscriptionError
from celeriac.handler import HandlerOptions, make_handler
from celeriac.service import Service, worker_name
from celeriac.settings import Settings
from celeriac.testing.store import Store


def charge(event: Event) -> None: ...


def service() -> Service:
    return Service(Settings.load({}, service="billing"))


def test_a_name_is_taken_once_and_the_first_is_named() -> None:
    billing = service()
    handler = make_handler(charge, ["order.placed"], service="billing")
    billing.add(handler)
    with pytest.raises(SubscriptionError, match=r"taken by .*test_service\.charge\. .*name='...'"):
        billing.add(make_handler(charge, ["order.paid"], service="billing"))
    assert {"billing.charge": handler} == dict(billing.handlers)


def test_a_partial_that_was_there_first_is_named_too() -> None:
    billing = service()
    billing.add(
        make_handler(
            functools.partial(charge), ["a"], HandlerOptions(name="charge"), service="billing"
        )
    )
    with pytest.raises(SubscriptionError, match=r"taken by functools\..*charge"):
        billing.add(make_handler(charge, ["a"], service="billing"))


def test_no_two_workers_have_one_name() -> None:
    assert worker_name("billing@here") != worker_name("billing@here")


def test_inside_a_test_every_service_works_on_the_same_store() -> None:
    billing, own = service(), Store(Settings.load({})).backend
    billing.backend = own
    store, inner = Store(billing.settings), Store(billing.settings)
    with store.installed():
        assert store.backend is billing.backend is service().backend
        with inner.installed():
            assert inner.backend is billing.backend
        assert store.backend is billing.backend
    assert own is billing.backend
