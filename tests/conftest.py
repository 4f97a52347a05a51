"""What every test may ask for: one server for the session, and a namespace of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from celeriac.dev.server import EmbeddedServer, start_server
from celeriac.settings import Settings

# Time on a shared machine says nothing about the code; the same examples everywhere do.
hypothesis_settings.register_profile(
    "celeriac", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "celeriac"))

_namespaces = (f"t{os.getpid()}.{n}" for n in itertools.count())


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One embedded server. Do not flush it or stop it: other tests use it too."""
    with start_server(tmp_path_factory.mktemp("redis"), appendonly=False) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    return redis_server.url


@pytest.fixture
def namespace() -> str:
    """A prefix of keys that no other test has."""
    return next(_namespaces)


@pytest.fixture
def settings(redis_url: str, namespace: str) -> Settings:
    """Settings of a service `billing` on the embedded server, in a namespace of its own."""
    return Settings.load({}, redis_url=redis_url, namespace=namespace, service="billing")
