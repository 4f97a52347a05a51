"""Options of webhooks that cannot work are refused at import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celeriac import ConfigurationError, EventBus
from celeriac.gateway import GitHub, Hook, Slack, StandardWebhooks, Stripe, gateway
from celeriac.push import new_secret

KEY, SECRET = new_secret(), "secret-of-the-hook"
PRESETS: list[Callable[..., Hook]] = [
    Stripe,
    GitHub,
    Slack,
    lambda secret, **given: StandardWebhooks(
        KEY if secret == SECRET else secret, **{"type": "a.{type}", "source": "/a", **given}
    ),
]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"type": "{type}"}, "no fixed first segment"),
        ({"type": "a{type}.b"}, "no fixed first segment"),
        ({"type": "a.{name}"}, "may only contain"),
        ({"type": ""}, "is empty"),
        ({"type": None}, "is no str"),
        ({"source": ""}, "`source`"),
        ({"secret": ""}, "secret"),
        ({"secret": []}, "secret"),
        ({"secret": ["x", 7]}, "secret"),
    ],
)
def test_a_wrong_option_is_refused(
    preset: Callable[..., Hook], wrong: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        preset(**{"secret": SECRET, **wrong})


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), 86_401, True, "5"])
def test_a_wrong_tolerance_is_refused(tolerance: Any) -> None:
    for preset in (Stripe, Slack):
        with pytest.raises(ConfigurationError, match="tolerance"):
            preset(SECRET, tolerance=tolerance)


@pytest.mark.parametrize("preset", PRESETS[:3])
@pytest.mark.parametrize("secret", ["abc", "x" * 15, [SECRET, "abc"]])
def test_a_secret_that_is_too_short_is_refused(preset: Callable[..., Hook], secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="must have 16 characters or more") as raised:
        preset(secret)
    assert "abc" not in str(raised.value)


@pytest.mark.parametrize("preset", PRESETS[:3])
@pytest.mark.parametrize("secret", [None, "", [], [None], 7, b"secret-of-the-hook"])
def test_a_secret_that_is_missing_is_refused(preset: Callable[..., Hook], secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="the secret is missing"):
        preset(secret)


def test_no_repr_has_a_secret() -> None:
    hooks: list[Hook] = [Stripe(SECRET), GitHub(SECRET), Slack(SECRET)]
    assert SECRET not in repr(hooks)
    assert KEY not in repr(StandardWebhooks(KEY, type="a", source="a"))


@pytest.mark.parametrize("name", ["", "a/b", "Stripe", "a b", "..", "x" * 65])
def test_a_name_that_is_no_part_of_a_path_is_refused(bus: EventBus, name: str) -> None:
    with pytest.raises(ConfigurationError, match="part of the path"):
        gateway(bus, hooks={name: Stripe(SECRET)})
