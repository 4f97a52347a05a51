"""What every store of subjects' keys promises."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from celeriac.errors import ConfigurationError, SubjectErased, SubjectKeysUnavailable
from celeriac.security.cached_subject_keys import CachedSubjectKeys
from celeriac.subject_keys import (
    MemorySubjectKeys,
    SqlSubjectKeys,
    SubjectKeys,
    create_subject_keys,
)
from tests.unit.test_fork import in_child

MASTER = secrets.token_urlsafe(32)


def opened(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    create_subject_keys(engine)
    create_subject_keys(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    yield from opened(database_url)


DATABASES = ("sqlite", "postgresql", "mysql")
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "mysql+pymysql": "mysql+asyncmy"}


@pytest.fixture(params=["memory", *DATABASES, *(f"{name}, async" for name in DATABASES)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SubjectKeys]:
    name, _, is_async = request.param.partition(", ")
    if name == "memory":
        yield MemorySubjectKeys()
        return
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    if name == "mysql":
        url = request.getfixturevalue("mysql_url")
    elif name == "postgresql":
        url = request.getfixturevalue("postgres_url").replace("postgresql", "postgresql+psycopg")
    for engine in opened(url):
        yield SqlSubjectKeys(asynchronous(url) if is_async else engine, MASTER)


def test_a_missing_table_is_named_with_the_remedy() -> None:
    keys = SqlSubjectKeys(create_engine("sqlite://"), MASTER)
    table = r"the table celeriac_subject_keys is missing. Create it: call .*create_subject_keys\("
    for call in (lambda: keys.key_of("a"), lambda: keys.erase("a", actor="b"), keys.rewrap):
        with pytest.raises(ConfigurationError, match=table):
            call()
    cached = CachedSubjectKeys(keys)
    with pytest.raises(SubjectKeysUnavailable, match=rf"keys failed: {table}"):
        cached.key_of("a")


def asynchronous(url: str) -> AsyncEngine:
    driver, rest = url.partition("?")[0].split(":", 1)
    return create_async_engine(f"{ASYNC_DRIVERS.get(driver, driver)}:{rest}")


def test_a_subject_has_one_key(store: SubjectKeys) -> None:
    key = store.key_of("customer-42")
    assert key == store.key_of("customer-42")
    assert (32, key.secret) == (len(key.secret), store.secret_of(key.id))
    assert key.id.startswith("subject:")
    assert f"SubjectKey({key.id!r})" == repr(key), "without the secret"


def test_subjects_have_different_keys(store: SubjectKeys) -> None:
    keys = [store.key_of(name) for name in ("a", "A", "b", "é", "a ")]
    assert 5 == len({key.id for key in keys}) == len({key.secret for key in keys})


def test_an_unknown_key_has_no_secret(store: SubjectKeys) -> None:
    assert store.secret_of("subject:none") is None


def test_an_erased_key_is_gone_and_is_not_created_again(store: SubjectKeys) -> None:
    key, other = store.key_of("customer-42"), store.key_of("customer-43")
    erasure = store.erase("customer-42", actor="ann", reason="request 7")
    assert erasure.is_new
    assert ("customer-42", "ann", "request 7") == (erasure.subject, erasure.actor, erasure.reason)
    for read in (lambda: store.key_of("customer-42"), lambda: store.secret_of(key.id)):
        with pytest.raises(SubjectErased, match=r"was erased at 20.* by ann\."):
            read()
    assert other == store.key_of("customer-43")


def test_a_subject_without_a_key_is_erased_too(store: SubjectKeys) -> None:
    assert store.erase("customer-42", actor="ann").is_new
    with pytest.raises(SubjectErased):
        store.key_of("customer-42")


def test_the_first_erasure_stays(store: SubjectKeys) -> None:
    assert store.erasure("customer-42") is None
    store.key_of("customer-42")
    assert store.erasure("customer-42") is None
    first = store.erase("customer-42", actor="ann", reason="request 7")
    again = store.erase("customer-42", actor="bob", reason="other")
    assert not again.is_new
    assert (first.at_ms, "ann", "request 7") == (again.at_ms, again.actor, again.reason)
    assert again == store.erasure("customer-42")


def test_concurrent_callers_get_the_same_key(store: SubjectKeys) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(lambda _: store.key_of("customer-42").id, range(20)))
    assert 1 == len(keys)


@pytest.fixture
def async_engine(tmp_path: Path) -> Iterator[AsyncEngine]:
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    for _ in opened(url):
        yield asynchronous(url)


def test_the_loop_of_the_application_keeps_its_connections(async_engine: AsyncEngine) -> None:
    """An AsyncEngine is used in the application's loop, while a coroutine emits for a subject."""
    opened_connections: list[object] = []
    event.listen(
        async_engine.sync_engine, "connect", lambda *given: opened_connections.append(given)
    )
    store = SqlSubjectKeys(async_engine, MASTER)

    async def main() -> None:
        async with async_engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            key = store.key_of("customer-42")
            assert key.secret == store.secret_of(key.id)
            rows = await connection.execute(text("SELECT key_id FROM celeriac_subject_keys"))
            assert [(key.id,)] == rows.all()
        await async_engine.dispose()

    asyncio.run(main())
    assert 2 == len(opened_connections), "with the listeners of the application's pool"


def test_a_forked_process_reads_with_an_async_engine_too(async_engine: AsyncEngine) -> None:
    store = SqlSubjectKeys(async_engine, MASTER)
    key = store.key_of("customer-42")
    assert in_child(lambda: store.secret_of(key.id) == key.secret)
    assert key == store.key_of("customer-42")


def test_keys_outlive_the_process(engine: Engine) -> None:
    key = SqlSubjectKeys(engine, MASTER).key_of("customer-42")
    assert key == SqlSubjectKeys(engine, MASTER).key_of("customer-42")


def test_the_database_has_wrapped_keys_only(engine: Engine) -> None:
    key = SqlSubjectKeys(engine, MASTER).key_of("customer-42")
    with engine.connect() as connection:
        [row] = connection.execute(text("SELECT * FROM celeriac_subject_keys")).all()
    assert 40 == len(row.wrapped)
    assert key.secret not in row.wrapped
    with pytest.raises(ConfigurationError, match="master_key does not unwrap"):
        SqlSubjectKeys(engine, secrets.token_urlsafe(32)).key_of("customer-42")


def test_an_erased_row_has_no_key(engine: Engine) -> None:
    store = SqlSubjectKeys(engine, MASTER)
    store.key_of("customer-42")
    store.erase("customer-42", actor="ann")
    with engine.connect() as connection:
        [row] = connection.execute(text("SELECT * FROM celeriac_subject_keys")).all()
    assert (None, "ann") == (row.wrapped, row.erased_by)


def test_keys_are_wrapped_again_with_a_new_master_key(engine: Engine) -> None:
    new, old = secrets.token_urlsafe(32), SqlSubjectKeys(engine, MASTER)
    keys = [old.key_of(f"customer-{n}") for n in range(5)]
    old.erase("customer-0", actor="ann")
    both = SqlSubjectKeys(engine, [new, MASTER])
    assert keys[1] == both.key_of("customer-1")
    assert (4, 0) == (both.rewrap(), both.rewrap())
    only_new = SqlSubjectKeys(engine, new)
    assert keys[1:] == [only_new.key_of(f"customer-{n}") for n in range(1, 5)]
    with pytest.raises(SubjectErased):
        only_new.key_of("customer-0")
    with pytest.raises(ConfigurationError):
        old.key_of("customer-1")


@pytest.mark.parametrize("given", ["", "short", "é" * 43, [], [MASTER, "short"], None])
def test_an_invalid_master_key_is_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigurationError, TypeError)):
        SqlSubjectKeys(create_engine(f"sqlite:///{tmp_path}/a"), given)
