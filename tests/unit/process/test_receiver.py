"""The store that the inbox of a process selects."""

from __future__ import annotations

from sqlalchemy import create_engine

from celeriac.inbox import DjangoInbox, as_inbox
from celeriac.process.django_store import django_store
from celeriac.process.receiver import _store_of
from celeriac.process.sql_store import sql_store


def test_the_instances_are_in_the_database_of_the_inbox() -> None:
    assert django_store is _store_of(DjangoInbox())
    assert sql_store is _store_of(as_inbox(create_engine("sqlite://")))
