"""Flower with an OAuth provider: who has logged in has a cookie, and acts only with the token."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tornado.web import create_signed_value

from celeriac.settings import Settings
from tests.browser.flower import Answer, Flower, shop_of
from tests.browser.story import tell
from tests.unit.tracking.shop import Shop

SECRET = "known-to-the-test"
XSRF = "2|00000000|00000000|1"


@pytest.fixture(scope="module")
def shop(watched: Settings) -> Shop:
    made = shop_of(watched)
    tell(made, orders=14)
    return made


@pytest.fixture(scope="module")
def flower(
    watched: Settings, shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flower]:
    started = Flower(
        watched,
        tmp_path_factory.mktemp("flower"),
        options=(
            "--auth=.*@example.com",
            "--auth-provider=flower.views.auth.GoogleAuth2LoginHandler",
            "--oauth2-key=key",
            "--oauth2-secret=secret",
            "--oauth2-redirect-uri=http://127.0.0.1/login",
            f"--cookie-secret={SECRET}",
        ),
    )
    try:
        yield started.start()
    finally:
        started.stop()


def logged_in(email: str = "ada@example.com") -> str:
    return f"user={create_signed_value(SECRET, 'user', email).decode()}"


def redrive(flower: Flower, shop: Shop, cookies: str, token: str = "", site: str = "") -> Answer:
    letter = shop.backend.deliveries.dead("order")[0]
    headers = {"Cookie": cookies, "X_XSRFToken": token}
    return flower.act(
        "redrive",
        f'{{"dead_letter": "order/{letter.id}"}}'.encode(),
        user="",
        Sec_Fetch_Site=site or "same-origin",
        **{name: value for name, value in headers.items() if value},
    )


def test_pages_need_a_login(flower: Flower) -> None:
    for path in ("/events", "/dead", "/celeriac/count"):
        assert 200 == flower.ask(path, user="", Cookie=logged_in()).status
        for nobody in ("other=cookie", logged_in("eve@elsewhere.com"), "user=forged"):
            asked = flower.ask(path, user="", Cookie=nobody)
            assert 302 == asked.status
            assert (asked.headers["Location"] or "").startswith("/login")


def test_an_act_needs_login_and_token_and_our_own_page(flower: Flower, shop: Shop) -> None:
    known = f"{logged_in()}; _xsrf={XSRF}"
    before = shop.backend.deliveries.dead_count("order")
    for refused in (
        redrive(flower, shop, ""),
        redrive(flower, shop, f"_xsrf={XSRF}", XSRF),
        redrive(flower, shop, f"{logged_in('eve@elsewhere.com')}; _xsrf={XSRF}", XSRF),
        redrive(flower, shop, known),
        redrive(flower, shop, known, "2|00000000|11111111|1"),
        redrive(flower, shop, known, XSRF, site="cross-site"),
        redrive(flower, shop, known, XSRF, site="same-site"),
    ):
        assert 403 == refused.status, refused.text
    assert before == shop.backend.deliveries.dead_count("order")
    assert 200 == redrive(flower, shop, known, XSRF).status
    assert before - 1 == shop.backend.deliveries.dead_count("order")
    audit = flower.ask("/audit", user="", Cookie=logged_in()).text
    assert "ada@example.com" in audit
