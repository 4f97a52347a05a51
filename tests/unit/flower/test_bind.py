"""Flower listens on this machine only, unless it asks who is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.flower.bind import SWITCH, choose_address, is_loopback


def options(**given: Any) -> Any:
    return SimpleNamespace(
        **{"address": "", "unix_socket": "", "basic_auth": None, "auth": "", **given}
    )


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)


def chosen(given: Any) -> str:
    choose_address(given)
    address: str = given.address
    return address


def test_the_default_address_is_loopback() -> None:
    """Also with a password: stock Flower binds to every interface."""
    assert "127.0.0.1" == chosen(options()) == chosen(options(basic_auth=["a:b"]))


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_any_loopback_address_will_do(address: str) -> None:
    assert address == chosen(options(address=address))


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "10.0.0.1", "shop.example.com", "", "127.0.0"]
)
def test_what_is_not_an_address_of_loopback_is_none(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "shop.example.com"])
def test_another_address_without_authentication_is_refused_with_the_remedy(address: str) -> None:
    with pytest.raises(SystemExit) as refused:
        choose_address(options(address=address))
    for word in (address, "--basic-auth", SWITCH):
        assert word in str(refused.value)


@pytest.mark.parametrize("given", [{"basic_auth": ["a:b"]}, {"auth": ".*@example.com"}])
def test_with_authentication_it_may_listen_anywhere(given: dict[str, Any]) -> None:
    assert "0.0.0.0" == chosen(options(address="0.0.0.0", **given))


def test_a_setting_allows_a_proxy_to_authenticate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "1")
    assert "0.0.0.0" == chosen(options(address="0.0.0.0"))
    monkeypatch.setenv(SWITCH, "0")
    with pytest.raises(SystemExit):
        choose_address(options(address="0.0.0.0"))


def test_a_unix_socket_has_no_address() -> None:
    assert "" == chosen(options(unix_socket="/tmp/flower.sock"))
