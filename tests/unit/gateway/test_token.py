"""Tokens that cannot be used, and what their messages show."""

from __future__ import annotations

import hashlib
import traceback
from typing import Any

import pytest

from celeriac import ConfigurationError, EventBus
from celeriac.gateway import Token, gateway
from celeriac.gateway.refusal import Refusal
from celeriac.gateway.token import Tokens
from tests.unit.gateway.conftest import SECRET

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "`name`"),
    ({"name": "a\nb"}, "`name`"),
    ({"secret": "too-short"}, "16 characters"),
    ({"secret": ""}, "16 characters"),
    ({"secret": []}, "no secret"),
    ({"secret": [SECRET, 7]}, "16 characters"),
    ({"secret": 7}, "must be a text"),
    ({"secret": SECRET.encode()}, "must be a text"),
    ({"secret": SECRET + "\n"}, "printable ASCII"),
    ({"secret": " " + SECRET}, "printable ASCII"),
    ({"secret": SECRET + "é"}, "printable ASCII"),
    ({"secret": SECRET + "\udcff"}, "printable ASCII"),
    ({"secret": "sha256:" + "0" * 63}, "64 hex digits"),
    ({"secret": "sha256:" + SECRET}, "64 hex digits"),
    ({"types": "order.*"}, "must be a list"),
    ({"types": 7}, "must be a list"),
    ({"handlers": "search.*"}, "must be a list"),
    ({"handlers": 7}, "must be a list"),
    ({"metrics": "false"}, "must be True or False"),
    ({"scale": "billing"}, "must be a list"),
    ({"scale": ["billing.charge"]}, "must be the name of a service"),
    ({"scale": [7]}, "must be the name of a service"),
    ({"types": ["order..x"]}, "types"),
    ({"source": "a\nb"}, "`source`"),
    ({"tenants": "acme"}, "must be a list"),
    ({"tenants": 7}, "must be a list"),
    ({"tenants": ["a b"]}, "tenants: 'a b' must not contain spaces"),
]


@pytest.mark.parametrize(("wrong", "reason"), WRONG)
def test_a_wrong_token_is_refused_without_its_secret(wrong: dict[str, Any], reason: str) -> None:
    given: dict[str, Any] = {"name": "partner", "secret": SECRET, "types": ["order.*"], **wrong}
    with pytest.raises(ConfigurationError) as raised:
        Token(**given)
    shown = "".join(traceback.format_exception_only(raised.value))
    assert reason in shown
    assert SECRET not in shown and "too-short" not in shown.split(": ", 1)[1].replace(
        "too short", ""
    )


def test_the_source_is_the_name_unless_given() -> None:
    assert Token("partner", SECRET).source == "partner"
    assert Token("partner", SECRET, source="/p").source == "/p"


def test_its_repr_has_no_secret() -> None:
    assert SECRET not in repr(Token("partner", SECRET))


@pytest.mark.parametrize(
    ("other", "reason"),
    [(Token("partner", SECRET + "2"), "named 'partner'"), (Token("other", SECRET), "same secret")],
)
def test_tokens_share_no_name_and_no_secret(bus: EventBus, other: Token, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        gateway(bus, tokens=[Token("partner", SECRET), other])


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_a_digest_may_be_in_upper_case() -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest().upper()
    token = Token("partner", f"sha256:{digest}")
    assert Tokens([token]).authenticate(bearer(SECRET)) is token


@pytest.mark.parametrize("wrong", [OSError(f"vault: {SECRET}"), None, "short", 7])
def test_a_secret_that_cannot_be_read_refuses_no_other_client(wrong: Any) -> None:
    """Its own clients send again: the store of secrets may be unreachable for a moment."""

    def read() -> Any:
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    partner, late = Token("partner", SECRET), Token("late", lambda: SECRET + "2")
    tokens = Tokens([partner, Token("broken", read), late])
    assert tokens.authenticate(bearer(SECRET)) is partner
    assert tokens.authenticate(bearer(SECRET + "2")) is late
    with pytest.raises(Refusal) as raised:
        tokens.authenticate(bearer(SECRET + "3"))
    assert (raised.value.status, dict(raised.value.headers)) == (503, {"retry-after": "1"})
    assert "Token('broken')" in raised.value.cause
    assert SECRET not in raised.value.cause + raised.value.detail
