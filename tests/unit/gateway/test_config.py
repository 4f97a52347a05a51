"""The file of `celeriac gateway`."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from celeriac import ConfigurationError
from celeriac.gateway import GitHub, Limits, Slack, StandardWebhooks, Stripe
from celeriac.gateway.config import read_config
from celeriac.push import new_secret

SECRET = "partner-secret-of-32-characters!"


def written(directory: Path, text: str) -> Path:
    path = directory / "gateway.toml"
    path.write_text(text)
    return path


def test_tokens_hooks_and_limits_are_read(tmp_path: Path) -> None:
    (tmp_path / "slack").write_text("slack-secret-of-the-app\n")
    key = new_secret()
    path = written(
        tmp_path,
        f"""
        [tokens.partner]
        secret = [{{ env = "PARTNER" }}, "{SECRET}-old"]
        types = ["parcel.*"]
        source = "/partner"

        [hooks.stripe]
        preset = "stripe"
        secret = "whsec_x-secret-of-the-hook"

        [hooks.code]
        preset = "github"
        secret = "x-secret-of-the-hook"
        type = "code.{{type}}"

        [hooks.slack]
        preset = "slack"
        secret = {{ file = "{tmp_path}/slack" }}
        tolerance = 60

        [hooks.other]
        preset = "standard"
        secret = "{key}"
        type = "other.{{type}}"
        source = "/other"

        [limits]
        max_requests = 7
        """,
    )
    config = read_config(path, {"PARTNER": SECRET})
    (token,) = config.tokens
    assert (token.name, token.secret) == ("partner", [SECRET, f"{SECRET}-old"])
    assert (token.types, token.source) == (["parcel.*"], "/partner")
    assert config.hooks == {
        "stripe": Stripe("whsec_x-secret-of-the-hook"),
        "code": GitHub("x-secret-of-the-hook", type="code.{type}"),
        "slack": Slack("slack-secret-of-the-app", tolerance=60),
        "other": StandardWebhooks(key, type="other.{type}", source="/other"),
    }
    assert config.limits == Limits(max_requests=7)


def test_a_token_names_the_handlers_that_it_acts_for(tmp_path: Path) -> None:
    text = f'[tokens.search]\nsecret = "{SECRET}"\nhandlers = ["search.*"]'
    [token] = read_config(written(tmp_path, text)).tokens
    assert token.handlers == ["search.*"]
    with pytest.raises(ConfigurationError, match="handlers has 'search'"):
        read_config(written(tmp_path, text.replace(".*", "")))


def test_a_token_and_a_hook_have_tenants(tmp_path: Path) -> None:
    text = (
        f'[tokens.partner]\nsecret = "{SECRET}"\ntenants = ["acme"]\n'
        '[hooks.acme]\npreset = "stripe"\nsecret = "whsec_x-secret-of-the-hook"\ntenant = "acme"'
    )
    config = read_config(written(tmp_path, text))
    assert config.tokens[0].tenants == ["acme"]
    assert config.hooks["acme"] == Stripe("whsec_x-secret-of-the-hook", tenant="acme")


def test_an_empty_file_has_the_defaults(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, ""), {})
    assert (config.tokens, config.hooks, config.limits) == ((), {}, Limits())


WRONG = [
    ("[token.partner]", "there is no 'token'"),
    ("tokens = 7", "tokens must be tables"),
    ("[tokens]\npartner = 7", "tokens must be tables"),
    ("limits = 7", "must be a table"),
    ("[limits]\nmax_requests = 0", "max_requests"),
    ("[limits]\nmax = 0", "max"),
    ("[tokens.partner]\nsecret = 'se-cret'", r"\[tokens.partner\].*16 characters"),
    ("[tokens.partner]\ntypes = ['a']", r"\[tokens.partner\].*secret"),
    ("[tokens.partner]\nsecrets = 'se-cret'", "secrets"),
    ("[tokens.partner]\nsecret = { env = 'MISSING' }", "MISSING is not set"),
    ("[tokens.partner]\nsecret = { file = '/nowhere' }", "/nowhere cannot be read"),
    ("[tokens.partner]\nsecret = { env = 'A', file = 'B' }", "must be a text"),
    ("[tokens.partner]\nsecret = { vault = 'se-cret' }", "must be a text"),
    ("[hooks.x]\nsecret = 'se-cret'", "preset must be one of stripe, github"),
    ("[hooks.x]\npreset = 'paypal'", "preset must be one of stripe, github"),
    ("[hooks.x]\npreset = 'stripe'\nsecret = ''", "secret is missing"),
    ("[hooks.x]\npreset = 'standard'\nsecret = 'se-cret'\ntype='a'\nsource='a'", "invalid"),
    ("[tokens.partner]\nsecret = 'se-cret", r"not valid TOML \(at .*\). Check its syntax"),
    ("[tokens.partner]\nhandler = []", "no 'handler'. The options are secret, types, .*handlers"),
    ("[tokens.partner]\nname = 'x'", "no 'name'. The options are secret, types"),
]


@pytest.mark.parametrize(("text", "reason"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_file_is_refused_without_a_secret(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as raised:
        read_config(written(tmp_path, text), {})
    assert "gateway.toml" in str(raised.value)
    error = traceback.TracebackException.from_exception(raised.value)
    assert "se-cret" not in str(raised.value)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_a_file_of_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xef\xbb\xbf[limits]\r\nmax_batch = 7\r\n")
    assert 7 == read_config(path).limits.max_batch


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.toml.*Check --config"):
        read_config(tmp_path / "nowhere.toml")
