"""A web server that imports the application once, and then forks its workers."""

from __future__ import annotations

import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import psycopg
import pytest

from celeriac.event import decode, decode_data
from celeriac.outbox.database import open_database
from celeriac.outbox.relay import Relay
from celeriac.testing.process_guard import guarded_popen
from tests.e2e.conftest import APP

REQUESTS, PROCESSES = 200, 4


@pytest.fixture
def site(deployment: Any, postgres_url: str, tmp_path: Path) -> Iterator[Path]:
    """The file with the address of a gunicorn that preloads the application."""
    log, address = tmp_path / "gunicorn.log", tmp_path / "address"
    config = tmp_path / "gunicorn.conf.py"
    # The port is the kernel's choice, and known once gunicorn listens.
    config.write_text(
        "bind = '127.0.0.1:0'\n"
        f"workers = {PROCESSES}\n"
        "preload_app = True\n"
        "def when_ready(server):\n"
        f"    with open({str(address)!r}, 'w') as file:\n"
        "        file.write('%s:%s' % server.LISTENERS[0].sock.getsockname())\n"
    )
    command = [sys.executable, "-m", "gunicorn", "-c", str(config), "web:application"]
    url = postgres_url.replace("postgresql:", "postgresql+psycopg:")
    environment = {**deployment.environment, "DATABASE_URL": url}
    with log.open("wb") as file:
        process = guarded_popen(command, cwd=APP, env=environment, stdout=file, stderr=file)
    try:
        deployment.until(
            lambda: address.exists() and address.read_text().count(":") == 1,
            what="gunicorn",
        )
        yield address
    finally:
        process.kill_group()
        process.wait(10)


def test_requests_in_preloaded_processes_commit_and_emit_once(
    deployment: Any, postgres_url: str, site: Path
) -> None:
    """The master's pool holds the connection on which the tables were made."""
    address = site.read_text()

    def place(number: int) -> int:
        answer: HTTPResponse
        with closing(urllib.request.urlopen(f"http://{address}/?{number}", timeout=60)) as answer:
            return answer.status

    with ThreadPoolExecutor(3 * PROCESSES) as clients:
        assert {200: REQUESTS} == Counter(clients.map(place, range(REQUESTS)))
    with psycopg.connect(postgres_url) as server:
        stored = server.execute("SELECT number, pid FROM purchase").fetchall()
    assert list(range(REQUESTS)) == sorted(number for number, _ in stored)
    assert len({pid for _, pid in stored}) > 1, "several processes took part"

    database = open_database(postgres_url)
    Relay(database, deployment.bus.settings, deployment.bus.service.backend.event_log).drain()
    database.close()
    log = deployment.bus.service.backend.event_log.read("order", count=10 * REQUESTS)
    emitted = sorted(decode_data(decode(entry.body), int).data for entry in log)
    assert list(range(REQUESTS)) == emitted
