"""The stores that readers of the bus are tested on: import the fixture into a conftest."""

from __future__ import annotations

import pytest

from celeriac.settings import Settings
from celeriac.store.factory import Backend, redis_backend
from tests.unit.tracking.shop import memory_backend


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest, namespace: str) -> Backend:
    if request.param == "memory":
        return memory_backend(Settings.load({}))
    url = request.getfixturevalue("redis_url")
    return redis_backend(Settings.load({}, redis_url=url, namespace=namespace))
