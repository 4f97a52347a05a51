"""What every test may ask for: one server for the session, and a namespace of its own."""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Iterator
from functools import cache, partialmethod
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
import redis.utils
from click.testing import CliRunner
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.internal.conjecture import engine as hypothesis_engine
from psycopg.sql import SQL, Identifier
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from celeriac.settings import Settings
from celeriac.testing.server import EmbeddedServer, start_server
from devtools.cluster import EmbeddedCluster, start_cluster

# Time on a shared machine says nothing about the code; the same examples everywhere do.
hypothesis_settings.register_profile(
    "celeriac", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "celeriac"))
# Seconds to look for a shorter example after a failure. Hypothesis has no setting for it, and takes
# 300: the time-out of the test would come before an example is printed.
hypothesis_engine.MAX_SHRINKING_SECONDS = 20

# redis-py looks up its own version for each connection, in the metadata of its package: 0.4 ms.
if hasattr(redis.utils, "get_lib_version"):
    redis.utils.get_lib_version = cache(redis.utils.get_lib_version)

# click before 8.2 mixes stderr into stdout unless told otherwise; later releases never do.
if "mix_stderr" in inspect.signature(CliRunner.__init__).parameters:
    CliRunner.__init__ = partialmethod(CliRunner.__init__, mix_stderr=False)  # type: ignore

MYSQL = os.environ.get("CELERIAC_TEST_MYSQL", "mysql+pymysql://root@127.0.0.1:3306")
# PyMySQL offers TLS otherwise: it reads all certificates of the system for each connection, 30 ms.
NO_TLS = "?ssl_disabled=true"
POSTGRES = os.environ.get("CELERIAC_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
_databases = (f"celeriac_test_{os.getpid()}_{n}" for n in itertools.count())
_namespaces = (f"t{os.getpid()}.{n}" for n in itertools.count())


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One embedded server. Do not flush it or stop it: other tests use it too."""
    with start_server(tmp_path_factory.mktemp("redis"), appendonly=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """Three masters. Do not stop one: other tests use it too."""
    # A loaded machine may pause a node for seconds. The others would refuse the commands of a test.
    directory = tmp_path_factory.mktemp("cluster")
    with start_cluster(directory, node_timeout_ms=15_000) as cluster:
        yield cluster


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


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The address of a PostgreSQL database of the test's own, dropped afterwards."""
    try:
        server = psycopg.connect(f"{POSTGRES}/postgres", autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        missing(f"no PostgreSQL at {POSTGRES}: {error}")
    name = next(_databases)
    with server:
        server.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            yield f"{POSTGRES}/{name}"
        finally:
            server.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def mysql_url() -> Iterator[str]:
    """The address of a MySQL or MariaDB database of the test's own, dropped afterwards."""
    engine = create_engine(
        MYSQL + NO_TLS, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5}
    )
    name = next(_databases)
    try:
        with engine.connect() as server:
            server.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError as error:
        missing(f"no MySQL or MariaDB at {MYSQL}: {error}")
    try:
        yield f"{MYSQL}/{name}{NO_TLS}"
    finally:
        with engine.connect() as server:
            server.execute(text(f"DROP DATABASE {name}"))
        engine.dispose()


def missing(reason: str) -> NoReturn:
    """Skips; but where the service is promised, that would hide that nothing was proven."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database for SQLAlchemy; the test runs on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.sqlite'}"
    if request.param == "mysql":
        return str(request.getfixturevalue("mysql_url"))
    url: str = request.getfixturevalue("postgres_url")
    return url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def async_database_url(database_url: str) -> str:
    """The same database, for coroutines. asyncmy uses no TLS unless it must."""
    url = database_url.removesuffix(NO_TLS).replace("pymysql", "asyncmy")
    return url.replace("sqlite:", "sqlite+aiosqlite:")
