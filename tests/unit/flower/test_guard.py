"""Who may read and who may act, in each mode of Flower's authentication."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import HTTPError

from celeriac.flower.bind import SWITCH
from celeriac.flower.guard import check_action, check_read, user_of

NOBODY: dict[str, Any] = {"basic_auth": None, "auth": ""}
BASIC: dict[str, Any] = {"basic_auth": ["ada:secret"], "auth": ""}
OAUTH: dict[str, Any] = {"basic_auth": None, "auth": ".*@example.com"}
OURS = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}


def options(mode: dict[str, Any], **given: Any) -> Any:
    return SimpleNamespace(**{"read_only": False, **mode, **given})


def request(host: str = "localhost:5555", **headers: str) -> Any:
    return SimpleNamespace(host=host, headers={k.replace("_", "-"): v for k, v in headers.items()})


def refusal(check: Any, *arguments: Any) -> int | None:
    try:
        check(*arguments)
    except HTTPError as error:
        return error.status_code
    return None


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)


# -- acting


@pytest.mark.parametrize("mode", [BASIC, OAUTH])
def test_our_own_pages_may_act(mode: dict[str, Any]) -> None:
    asked = request(**{k.replace("-", "_"): v for k, v in OURS.items()})
    assert None is refusal(check_action, asked, options(mode))


def test_no_action_runs_without_authentication() -> None:
    asked = request(**{k.replace("-", "_"): v for k, v in OURS.items()})
    assert 403 == refusal(check_action, asked, options(NOBODY))


@pytest.mark.parametrize("mode", [NOBODY, BASIC, OAUTH])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Origin": "http://localhost:5556"},
    ],
)
def test_another_site_does_not_act(mode: dict[str, Any], headers: dict[str, str]) -> None:
    asked = request(Content_Type="application/json", **headers)
    assert 403 == refusal(check_action, asked, options(mode))


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
def test_what_a_form_can_send_is_no_act(kind: str) -> None:
    assert 415 == refusal(check_action, request(Content_Type=kind), options(BASIC))


def test_a_program_with_a_password_may_act() -> None:
    """It sends no headers of a browser."""
    asked = request(Content_Type="application/json; charset=utf-8")
    assert None is refusal(check_action, asked, options(BASIC))


def test_read_only_is_for_all() -> None:
    asked = request(**{k.replace("-", "_"): v for k, v in OURS.items()})
    assert 403 == refusal(check_action, asked, options(BASIC, read_only=True))


# -- reading


@pytest.mark.parametrize("mode", [NOBODY, BASIC, OAUTH])
def test_another_site_may_lead_here_and_not_look(mode: dict[str, Any]) -> None:
    leads = request(
        Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document"
    )
    looks = request(Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="script")
    frames = request(
        Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe"
    )
    assert None is refusal(check_read, leads, options(mode))
    assert 403 == refusal(check_read, looks, options(mode))
    assert 403 == refusal(check_read, frames, options(mode))


@pytest.mark.parametrize("host", ["localhost:5555", "127.0.0.1:5555", "[::1]:5555", "localhost"])
def test_without_authentication_it_answers_to_its_own_name(host: str) -> None:
    assert None is refusal(check_read, request(host), options(NOBODY))


@pytest.mark.parametrize("host", ["evil.example.com:5555", "localhost.evil.com", "", "10.0.0.1"])
def test_without_authentication_another_name_does_not_lead_in(host: str) -> None:
    """A page elsewhere may have its name changed to this machine's address: DNS rebinding."""
    assert 403 == refusal(check_read, request(host), options(NOBODY))
    assert None is refusal(check_read, request(host), options(BASIC))


def test_behind_an_authenticating_proxy_any_host_name_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    assert None is refusal(check_read, request("flower.example.com"), options(NOBODY))


# -- who


def test_the_actor_is_the_user_of_basic_authentication_or_the_login() -> None:
    encoded = base64.b64encode(b"ada:se:cret").decode()
    basic = SimpleNamespace(current_user=True, request=request(Authorization=f"Basic {encoded}"))
    assert "ada" == user_of(basic)
    assert "a@b.c" == user_of(SimpleNamespace(current_user="a@b.c", request=request()))
    assert "" == user_of(SimpleNamespace(current_user=True, request=request()))
