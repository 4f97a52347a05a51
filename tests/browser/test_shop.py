"""The reference deployment's Flower, as compose and the demo start it, has our pages."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from celeriac.settings import Settings
from celeriac.testing.process_guard import GuardedProcess, guarded_popen
from tests.browser.flower import PASSWORD, USER, Flower

ROOT = Path(__file__).parents[2]
COMPOSE = ["-m", "celery", "-A", "config", "flower", "--conf=config/flower.py", "--port={port}"]
DEMO = ["-c", "from devtools.demo.service_processes import _show; _show({port})"]


class ShopFlower(Flower):
    """Started at the root of the repository, by another command."""

    command: list[str]

    def launch(self) -> GuardedProcess:
        bare = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWER_", "CELERIAC_"))}
        environment = {
            **bare,
            "CELERIAC_REDIS_URL": self.settings.redis_url,
            "CELERIAC_NAMESPACE": self.settings.namespace,
            "FLOWER_USER": USER,
            "FLOWER_PASSWORD": PASSWORD,
        }
        command = [sys.executable, *(part.format(port=self.port) for part in self.command)]
        with self.log.open("ab") as out:
            self.process = guarded_popen(command, env=environment, cwd=ROOT, stdout=out, stderr=out)
        return self.process


@pytest.mark.parametrize("command", [COMPOSE, DEMO], ids=["compose", "demo"])
def test_it_shows_events_with_the_password(
    watched: Settings, tmp_path: Path, command: list[str]
) -> None:
    flower = ShopFlower(watched, tmp_path)
    flower.command = command
    try:
        flower.start()
        assert 401 == flower.ask("/events", user="").status
        page = flower.ask("/events")
        assert 200 == page.status and "No events yet" in page.text
        assert 'href="/dead"' in flower.ask("/").text
    finally:
        flower.stop()
