"""One server, one Flower and one browser for each module: starting them is what takes time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from celeriac.settings import Settings
from celeriac.testing.server import EmbeddedServer
from tests.browser.flower import PASSWORD, USER, Flower

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

CHROMIUM = os.environ.get("CELERIAC_CHROMIUM") or shutil.which("chromium") or ""
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def pytest_itemcollected(item: pytest.Item) -> None:
    """Called by pytest for the items of this folder only."""
    item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not longer than a module: while it is there, asyncio.run fails in this thread."""
    if not CHROMIUM:
        reason = "no chromium on PATH (apt-get install chromium), nor in CELERIAC_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def watched(redis_server: EmbeddedServer, request: pytest.FixtureRequest) -> Settings:
    """Settings of a bus that only this module has."""
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")
    return Settings.load(
        {}, redis_url=redis_server.url, namespace=f"b{os.getpid()}.{name}", service="watched"
    )


@pytest.fixture(scope="module")
def flower(watched: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    """One with basic authentication."""
    started = Flower(watched, tmp_path_factory.mktemp("flower"))
    try:
        yield started.start()
    finally:
        started.stop()


@pytest.fixture
def page(browser: Browser, flower: Flower) -> Iterator[Page]:
    """A browser page with the password; a script error fails the test."""
    context = browser.new_context(
        viewport={"width": 1366, "height": 850},
        http_credentials={"username": USER, "password": PASSWORD},
        base_url=flower.url,
    )
    opened = context.new_page()
    opened.set_default_timeout(40_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))

    def refuse(dialog: Dialog) -> None:
        faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    opened.on("dialog", refuse)
    yield opened
    context.close()
    assert not faults, faults
