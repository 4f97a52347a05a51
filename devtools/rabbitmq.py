"""An embedded RabbitMQ node, for tests and for injecting faults that would hurt a shared one.

The node listens on a free port of the loopback interface and ends with the process that started it:
see `process_guard`. RabbitMQ and Erlang must be installed. No service must run.
"""

from __future__ import annotations

import contextlib
import json
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
FOLDERS = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/usr/local/sbin")
START_WITHIN = 60.0  # seconds
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"


def rabbitmq_version() -> str:
    """Return RabbitMQ's version; empty if it is not installed."""
    commands = find_rabbitmq()
    if commands is None:
        return ""
    done = subprocess.run([commands / "rabbitmqctl", "version"], capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


class RabbitFailed(CeleriacError, RuntimeError):
    """A node did not start, or a command failed. The message has the end of the output."""


def find_rabbitmq() -> Path | None:
    """Return the directory with RabbitMQ's commands, or None if it is not installed."""
    folders = [os.environ[VARIABLE]] if os.environ.get(VARIABLE) else list(FOLDERS)
    for folder in folders:
        if os.access(Path(folder) / "rabbitmq-server", os.X_OK) and shutil.which("erl"):
            return Path(folder)
    return None


class EmbeddedRabbit(Embedded):
    """A node. `start` starts it; leaving its `with` block stops it. Raises RabbitFailed."""

    def __init__(self, directory: Path) -> None:
        commands = find_rabbitmq()
        if commands is None:
            raise RabbitFailed(
                f"RabbitMQ is not installed (looked in {', '.join(FOLDERS)}): "
                f"`apt-get install rabbitmq-server`, or name the directory of its commands in "
                f"{VARIABLE}"
            )
        self.directory, self._commands = directory, commands
        self.port, self._between_nodes = free_port(), free_port()
        self._name = f"celeriac{self.port}@localhost"
        self._takes_commands = False

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the node and block until it accepts connections. Does nothing if it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        self._takes_commands = False
        home = self.directory / "home"
        home.mkdir(parents=True, exist_ok=True)
        (self.directory / "rabbitmq.conf").write_text("log.console.level = warning\n")
        (self.directory / "plugins").write_text("[].")
        with self.log_path.open("ab") as output:
            self._process = guarded_popen(
                [self._commands / "rabbitmq-server"],
                env=self._environment(),
                cwd=self.directory,
                stdout=output,
                stderr=output,
                grace=20.0,
            )
        deadline = time.monotonic() + START_WITHIN
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RabbitFailed(f"RabbitMQ did not start:\n{self._last_output()}")
            time.sleep(0.05)

    def close_connections(self) -> None:
        """Close every client's connection."""
        self._control("close_all_connections", "--global", "fault")

    def vhost(self, name: str) -> str:
        """Create an empty virtual host, and return its URL."""
        if not self._takes_commands:
            # The port answers before.
            self._control("await_startup")
            self._takes_commands = True
        # Each run of rabbitmqctl starts an Erlang VM, so one run does all.
        permission = {
            "user": "guest",
            "vhost": name,
            "configure": ".*",
            "write": ".*",
            "read": ".*",
        }
        definitions = self.directory / f"{name}.json"
        definitions.write_text(
            json.dumps({"vhosts": [{"name": name}], "permissions": [permission]})
        )
        self._control("import_definitions", str(definitions))
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{name}"

    @property
    def log_path(self) -> Path:
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
        home = self.directory.resolve()
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("RABBITMQ_")},
            "HOME": str(home / "home"),
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._between_nodes),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            # The script then becomes the node, so that signals reach it, and needs no terminal.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
        }

    def _last_output(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-15:])


def _answers(port: int) -> bool:
    """Return whether a server on the port answers the header of AMQP."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as sock:
        sock.settimeout(1.0)
        sock.sendall(AMQP_HEADER)
        return bool(sock.recv(1))
    return False
