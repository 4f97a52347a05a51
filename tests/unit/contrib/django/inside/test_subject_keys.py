"""Keys of subjects in databases of Django."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from celeriac import ConfigurationError, SubjectErased
from celeriac.contrib.django.models import SubjectKeyRow
from celeriac.subject_keys import DjangoSubjectKeys

MASTER = secrets.token_urlsafe(32)


@pytest.fixture(params=["default", "other"])
def using(request: pytest.FixtureRequest) -> Iterator[str]:
    SubjectKeyRow.objects.using(request.param).all().delete()
    yield request.param
    SubjectKeyRow.objects.using(request.param).all().delete()


@pytest.fixture
def store(using: str) -> DjangoSubjectKeys:
    return DjangoSubjectKeys(MASTER, using=using)


def test_a_subject_has_one_key(store: DjangoSubjectKeys, using: str) -> None:
    key = store.key_of("customer-42")
    assert (
        key
        == store.key_of("customer-42")
        == DjangoSubjectKeys(MASTER, using=using).key_of("customer-42")
    )
    assert key.secret == store.secret_of(key.id)
    assert store.secret_of("subject:none") is None
    [row] = SubjectKeyRow.objects.using(using).all()
    assert (key.id, "customer-42") == (row.key_id, row.subject)
    assert key.secret not in bytes(row.wrapped)


def test_subjects_have_different_keys(store: DjangoSubjectKeys) -> None:
    keys = [store.key_of(name) for name in ("a", "A", "b", "é", "a ")]
    assert 5 == len({key.id for key in keys})


def test_an_erased_key_is_gone_and_is_not_created_again(
    store: DjangoSubjectKeys, using: str
) -> None:
    key = store.key_of("customer-42")
    erasure = store.erase("customer-42", actor="ann", reason="request 7")
    assert (True, key.id, "ann", "request 7") == (
        erasure.is_new, erasure.key_id, erasure.actor, erasure.reason,
    )  # fmt: skip
    for read in (lambda: store.key_of("customer-42"), lambda: store.secret_of(key.id)):
        with pytest.raises(SubjectErased, match=r"was erased at 20.* by ann\."):
            read()
    assert not store.erase("customer-42", actor="bob").is_new
    assert SubjectKeyRow.objects.using(using).get().wrapped is None
    assert store.erase("customer-43", actor="ann").is_new
    with pytest.raises(SubjectErased):
        store.key_of("customer-43")


def test_a_key_outlives_a_transaction_that_is_rolled_back(store: DjangoSubjectKeys) -> None:
    """A process caches the key, and encrypts later events with it."""
    with transaction.atomic():
        key = store.key_of("customer-42")
        transaction.set_rollback(True)
    assert key == store.key_of("customer-42")


def test_the_connection_of_the_application_stays_as_it_is(
    store: DjangoSubjectKeys, using: str
) -> None:
    with transaction.atomic(using=using):
        store.key_of("customer-42")
        assert connections[using].in_atomic_block
    assert connections[using].get_autocommit()


def test_keys_are_wrapped_again_with_a_new_master_key(store: DjangoSubjectKeys, using: str) -> None:
    keys = [store.key_of(f"customer-{n}") for n in range(3)]
    store.erase("customer-0", actor="ann")
    new = secrets.token_urlsafe(32)
    both = DjangoSubjectKeys([new, MASTER], using=using)
    assert (2, 0) == (both.rewrap(), both.rewrap())
    only_new = DjangoSubjectKeys(new, using=using)
    assert keys[1:] == [only_new.key_of(f"customer-{n}") for n in (1, 2)]
    with pytest.raises(ConfigurationError, match="Give DjangoSubjectKeys the earlier master key"):
        store.key_of("customer-1")


def test_the_migration_has_the_columns_of_the_model() -> None:
    from sqlalchemy import MetaData

    from celeriac.subject_keys import subject_keys_table

    call_command("makemigrations", "celeriac", check=True, dry_run=True, verbosity=0)
    with connections["default"].cursor() as cursor:
        described = connections["default"].introspection.get_table_description(
            cursor, "celeriac_subject_keys"
        )
    assert {column.name for column in described} == {
        column.name for column in subject_keys_table(MetaData()).columns
    }
