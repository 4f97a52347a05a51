from __future__ import annotations

from celeriac.event import event_key
from celeriac.event_log import EntryKind
from celeriac.event_log.delayed import (
    MAX_UNREGISTERED,
    is_registering,
    tokens_of,
    tokens_to_take,
)

BODY = b'{"specversion":"1.0","id":"a","source":"shop","type":"order.placed"}'
KEY = event_key("a", "shop")


def test_an_event_that_is_registered_has_one_token_its_key() -> None:
    for kind in (EntryKind.MADE, EntryKind.GIVEN):
        assert list(tokens_to_take(BODY, kind)) == [KEY]
    assert is_registering(KEY)


def test_any_other_event_has_several_so_that_none_keeps_it_out() -> None:
    tokens = tokens_to_take(BODY, EntryKind.FOREIGN)
    assert len(set(tokens)) == MAX_UNREGISTERED
    assert not any(is_registering(token) for token in tokens)


def test_what_is_no_event_has_none() -> None:
    assert tokens_to_take(b"later", EntryKind.GIVEN) == ()


def test_cancel_finds_every_token_of_an_event() -> None:
    taken = {token for kind in EntryKind for token in tokens_to_take(BODY, kind)}
    assert taken == set(tokens_of(KEY))
