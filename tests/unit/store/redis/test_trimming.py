"""Trimming step by step, with the replies of a server that has more than one step removes."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError, ResponseError

from celeriac.event_log.event_log import Trimmed
from celeriac.invalid_record import InvalidRecords
from celeriac.settings import Settings
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.known_groups import KnownGroups
from celeriac.store.redis.trimming import MAX_TRIM_STEPS, trim_domains
from tests.unit.store.redis.scripted_server import ScriptedServer

KEYS = Keys("n")
WRONG_TYPE = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


def trim(server: ScriptedServer, *domains: str, exact: bool = False, **given: Any) -> list[Trimmed]:
    settings = Settings.load({}, **given)
    known, invalid = KnownGroups(KEYS), InvalidRecords()
    return trim_domains(server, KEYS, known, invalid, settings, domains, exact)


def trimmed(server: ScriptedServer) -> list[str]:
    """The domain of each step, in order."""
    return [words[3].split("{")[1].split("}")[0] for words in server.sent]


def test_steps_follow_until_nothing_more_can_be_removed() -> None:
    server = ScriptedServer([[10, 1, 1, 7], [1, 0, 0, 9]], [[5, 2, 0, 3]])
    assert [Trimmed(15, 3, 3), Trimmed(1, 0, 9)] == trim(server, "a", "b")
    assert ["a", "b", "a"] == trimmed(server)


def test_the_rest_is_left_after_many_steps() -> None:
    server = ScriptedServer([[1, 1, 1, 5]])
    assert [Trimmed(MAX_TRIM_STEPS, MAX_TRIM_STEPS, 5, True)] == trim(server, "a")
    assert ["a"] * MAX_TRIM_STEPS == trimmed(server)


def test_a_domain_with_new_groups_is_trimmed_with_their_keys() -> None:
    server = ScriptedServer([[b"", b"billing.charge"], [1, 0, 0, 0]], [[2, 0, 0, 0]])
    assert [Trimmed(2), Trimmed(1)] == trim(server, "a", "b")
    assert ["a", "b", "a"] == trimmed(server)
    assert b"billing.charge" == server.sent[-1][-1]


def test_a_domain_with_a_key_of_another_type_is_left() -> None:
    server = ScriptedServer([WRONG_TYPE, [1, 0, 1, 0]], [[1, 0, 0, 0]])
    assert [Trimmed(remaining=1), Trimmed(2)] == trim(server, "a", "b")
    assert ["a", "b", "b"] == trimmed(server)


@pytest.mark.parametrize("error", [ResponseError("ERR other"), ConnectionError("away")])
def test_other_errors_are_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        trim(ScriptedServer([error]), "a")


@pytest.mark.parametrize(("exact", "how"), [(True, "="), (False, "~")])
def test_the_settings_are_what_is_retained(exact: bool, how: str) -> None:
    server = ScriptedServer([[0, 0, 0, 0]])
    given = {"retention": 2.5, "retention_count": 7, "dead_retention": 3.5, "max_dead_letters": 9}
    trim(server, "a", exact=exact, **given)
    [(_, _, count, *words)] = server.sent
    assert [2500, 7, 3500, how, 9] == words[count:]
