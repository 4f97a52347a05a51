"""Replies that a handler returned, while Redis does not take them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import NoPermissionError, OutOfMemoryError

from celeriac.emitter.returned import ReturnedEvents
from celeriac.errors import BusUnavailable, CeleriacError, LogFull
from celeriac.event import HandlingContext, build_event
from celeriac.settings import Settings

ERRORS = [
    (NoPermissionError("this user has no permissions"), BusUnavailable),
    (OutOfMemoryError("OOM command not allowed"), LogFull),
]


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize(("error", "raised"), ERRORS)
def test_a_reply_that_is_refused_fails_only_what_is_not_committed(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    raised: type[CeleriacError],
    is_committed: bool,
) -> None:
    def refuse(*_: Any) -> bool:
        raise error

    unused: Any = None
    replies: Any = SimpleNamespace(push=refuse)
    returned = ReturnedEvents(settings, unused, unused, lambda: replies)
    with HandlingContext(
        build_event("price.asked", None, source="s"), handler="shop.quote"
    ) as context:
        context.replies = [("price.asked", "mailbox", b"{}")]
        if is_committed:
            returned.send_replies(is_committed=True)
            assert "the reply to mailbox is not sent" in caplog.text
        else:
            with pytest.raises(raised):
                returned.send_replies(is_committed=False)
