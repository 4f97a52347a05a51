"""An embedded RabbitMQ node, for tests and for injecting faults that would hurt a shared one.

It listens on a free port of the loopback interface, keeps its data in the directory that it is
given, and ends with the process that started it (see `guard`). It needs RabbitMQ and Erlang on the
machine, and nothing that runs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from celeriac.errors import CeleriacError
from celeriac.testing.embedded import Embedded
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import guarded_popen

VARIABLE = "CELERIAC_RABBITMQ"  # the directory of rabbitmq-server and rabbitmqctl
# Debian's own commands on PATH change to the user `rabbitmq`; these do not.
PLACES = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/usr/local/sbin")
START_WITHIN = 60.0  # seconds
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"


def rabbitmq_version() -> str:
    """As its commands say it; empty where it is not installed."""
    commands = find_rabbitmq()
    if commands is None:
        return ""
    done = subprocess.run([commands / "rabbitmqctl", "version"], capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


class RabbitFailed(CeleriacError, RuntimeError):
    """A node did not start or did not do as told. The message holds the end of what it said."""


def find_rabbitmq() -> Path | None:
    """The directory with RabbitMQ's commands, or None if it is not installed."""
    places = [os.environ[VARIABLE]] if os.environ.get(VARIABLE) else list(PLACES)
    for place in places:
        if os.access(Path(place) / "rabbitmq-server", os.X_OK) and shutil.which("erl"):
            return Path(place)
    return None


class EmbeddedRabbit(Embedded):
    """A node. `start` starts it; leaving its `with` block stops it. Raises RabbitFailed."""

    def __init__(self, directory: Path) -> None:
        commands = find_rabbitmq()
        if commands is None:
            raise RabbitFailed(
                f"RabbitMQ is not installed (looked in {', '.join(PLACES)}): "
                f"`apt-get install rabbitmq-server`, or name the directory of its commands in "
                f"{VARIABLE}"
            )
        self.directory, self._commands = directory, commands
        self.port, self._between_nodes = free_port(), free_port()
        self._name = f"celeriac{self.port}@localhost"

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Starts the node and waits until it takes connections; some seconds, none if it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        home = self.directory / "home"
        home.mkdir(parents=True, exist_ok=True)
        (self.directory / "rabbitmq.conf").write_text("log.console.level = warning\n")
        (self.directory / "plugins").write_text("[].")
        with self.log.open("ab") as log:
            self._process = guarded_popen(
                [self._commands / "rabbitmq-server"],
                env=self._environment(),
                cwd=self.directory,
                stdout=log,
                stderr=log,
                grace=20.0,
            )
        deadline = time.monotonic() + START_WITHIN
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RabbitFailed(f"RabbitMQ did not start:\n{self._said()}")
            time.sleep(0.05)

    def close_connections(self) -> None:
        """The node closes every client's connection."""
        self._control("close_all_connections", "--global", "fault")

    def vhost(self, name: str) -> str:
        """Makes an empty virtual host; returns its URL."""
        self._control("add_vhost", name)
        self._control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{name}"

    @property
    def log(self) -> Path:
        return self.directory / "rabbitmq.log"

    def _control(self, *arguments: str) -> None:
        done = subprocess.run(
            [self._commands / "rabbitmqctl", "-q", "-n", self._name, *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RabbitFailed(f"rabbitmqctl {' '.join(arguments)}: {done.stderr[-500:]}")

    def _environment(self) -> dict[str, str]:
        place = self.directory.resolve()
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("RABBITMQ_")},
            "HOME": str(place / "home"),
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._between_nodes),
            "RABBITMQ_MNESIA_BASE": str(place / "mnesia"),
            "RABBITMQ_LOG_BASE": str(place / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(place / "pid"),
            "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(place / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "plugins"),
            # The script then becomes the node, which a signal reaches; and it wants no terminal.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
        }

    def _said(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def _answers(port: int) -> bool:
    """Whether AMQP is spoken there: it answers the protocol's header."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as sock:
        sock.settimeout(1.0)
        sock.sendall(AMQP_HEADER)
        return bool(sock.recv(1))
    return False
