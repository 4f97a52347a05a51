"""`celeriac gateway`, up to the server that it starts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from celeriac import EventBus
from celeriac.gateway import server
from celeriac.testing import in_memory
from tests.unit.cli.conftest import Run
from tests.unit.gateway.conftest import ask

SECRET = "partner-secret-of-32-characters!"
EVENT = {"specversion": "1.0", "id": "p-1", "source": "partner", "type": "parcel.sent"}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The arguments of the server instead of a running one; signals are restored."""
    started: list[dict[str, Any]] = []

    def serve(config: uvicorn.Config, stop_waiting: Callable[[], None]) -> None:
        started.append({"app": config.app, "host": config.host, "port": config.port})

    monkeypatch.setattr(server, "serve", serve)
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield started
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "gateway.toml"
    path.write_text(f'[tokens.partner]\nsecret = "{SECRET}"\ntypes = ["parcel.*"]\n')
    return str(path)


def test_it_serves_the_tokens_of_its_file(
    run: Run, served: list[dict[str, Any]], config: str
) -> None:
    answer = run("gateway", "--config", config, "--host", "0.0.0.0", "--port", "81")
    assert answer.exit_code == 0, answer.err
    (given,) = served
    assert (given["host"], given["port"]) == ("0.0.0.0", 81)
    headers = {"authorization": f"Bearer {SECRET}", "content-type": "application/cloudevents+json"}
    with in_memory(EventBus(service="any")) as memory:
        assert ask(given["app"], "POST", "/events", json=EVENT, headers=headers).status_code == 202
        assert ask(given["app"], "POST", "/events", json=EVENT).status_code == 401
        assert [event.id for event in memory.emitted] == ["p-1"]


def test_with_a_module_it_serves_its_bus_and_checks_its_types(
    run: Run, served: list[dict[str, Any]], config: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "gateway_app_of_test.py").write_text(
        "from celeriac import EventBus\n"
        "bus = EventBus(service='parcels')\n"
        "bus.declare('parcel.sent', dict[str, int])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    answer = run("gateway", "--config", config, "-A", "gateway_app_of_test")
    assert answer.exit_code == 0, answer.err
    headers = {"authorization": f"Bearer {SECRET}", "content-type": "application/cloudevents+json"}
    with in_memory(EventBus(service="any")):
        wrong = ask(served[0]["app"], "POST", "/events", json={**EVENT, "data": 7}, headers=headers)
    assert (wrong.status_code, wrong.json()["field"]) == (400, "data")


def test_a_wrong_file_is_a_wrong_usage(run: Run, served: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("[tokens.partner]\nsecret = 'short'\n")
    for config in (path, tmp_path / "nowhere.toml"):
        answer = run("gateway", "--config", str(config))
        assert answer.exit_code == 2
        assert str(config) in answer.err and "short'" not in answer.err
    assert served == []


def test_without_a_file_it_does_not_start(run: Run, served: list[Any]) -> None:
    answer = run("gateway")
    assert (answer.exit_code, served) == (2, [])
