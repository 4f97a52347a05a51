"""The processes that the demo starts, and their end."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from redis.exceptions import RedisError

from celeriac.errors import CeleriacError
from celeriac.store.redis.connection import open_client
from celeriac.testing.server import start_server
from devtools.demo.service_processes import Plan, ServiceProcesses, remove

ROOT = Path(__file__).resolve().parents[2]
FLOWER_USER = "demo"
PAYMENT_DEADLINE = 30.0  # seconds; long enough to repair the gateway and redrive


class DemoFailed(CeleriacError):
    """The demo cannot continue. The message has the reason, or the end of the log that shows it."""


class Processes:
    """Server, workers and Flower. Leaving the `with` block ends them, and so does the demo's death.

    If CELERIAC_REDIS_URL is set, the demo uses that server, in its own namespace, and removes the
    namespace at the end. Otherwise it starts an embedded server in a temporary directory.
    """

    def __init__(self) -> None:
        if not (ROOT / "config" / "services.py").is_file():
            raise DemoFailed(
                "config/services.py is missing. Run the demo in a checkout of celeriac."
            )
        # Flower and the shop are imported from here.
        os.chdir(ROOT)
        self.directory = Path(tempfile.mkdtemp(prefix="celeriac-demo-"))
        self.sandbox_url = f"sqlite:///{self.directory / 'sandbox.sqlite'}"
        self.database_url = f"sqlite:///{self.directory / 'orders.sqlite'}"
        self.server = ""
        self.namespace = "celeriac"
        self.flower_port: int | None = None
        self.flower_password = secrets.token_hex(3)
        self.redis_url = os.environ.get("CELERIAC_REDIS_URL", "")
        self._services: ServiceProcesses | None = None
        self._stack = ExitStack()

    def start_server(self) -> None:
        if self.redis_url:
            self.server = "your server"
            self.namespace = f"celeriac-demo-{secrets.token_hex(4)}"
            self._stack.callback(self._remove_namespace)
        else:
            server = self._stack.enter_context(start_server(self.directory / "data"))
            self.server, self.redis_url = server.version, server.url
        # Read by later imports, in this process and in its children.
        os.environ.update(self.environment)
        self._write_shell()
        os.environ.pop("CELERIAC_BROKER_URL", None)
        os.environ.pop("CELERIAC_SERVICE", None)

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "CELERIAC_REDIS_URL": self.redis_url,
            "CELERIAC_NAMESPACE": self.namespace,
            "CELERIAC_OUTBOX_URL": self.database_url,
            # See handlers/sandbox.py and handlers/orders.py.
            "SANDBOX_URL": self.sandbox_url,
            "PAYMENT_DEADLINE": f"{PAYMENT_DEADLINE:g}",
            # Without a password Flower allows no action: see config/flower.py.
            "FLOWER_USER": FLOWER_USER,
            "FLOWER_PASSWORD": self.flower_password,
        }

    @property
    def shell(self) -> str:
        """The command that makes `celeriac` and `celery` in another terminal use this demo."""
        return f". {shlex.quote(str(self.directory / 'env'))}"

    def _write_shell(self) -> None:
        lines = [f"cd {shlex.quote(str(ROOT))}"]
        activate = Path(sys.prefix) / "bin" / "activate"
        if activate.exists():
            lines.append(f". {shlex.quote(str(activate))}")
        for name, value in self.environment.items():
            lines.append(f"export {name}={shlex.quote(value)}")
        lines.append(f"echo 'Try: celeriac lag; celeriac dead list. Logs: {self.directory}'")
        # It has Flower's password.
        descriptor = os.open(self.directory / "env", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(lines) + "\n")

    def repair(self) -> None:
        """Make the payment gateway accept every card: redriven dead letters are then processed."""
        # It reads the environment that the demo has set.
        from handlers.gateway import repair

        repair()

    @property
    def is_repaired(self) -> bool:
        """Whether the payment gateway accepts every card. Blocks for its database."""
        from handlers.gateway import is_repaired

        return is_repaired()

    def start_services(self, workers: Mapping[str, int], port: int) -> None:
        """Start the workers (service → processes), and Flower on `port` or the next free one.

        It forks: call it before this process starts a thread or imports the shop.
        """
        if find_spec("flower") is not None:
            reserved = self._stack.enter_context(reserve(port))
            self.flower_port = reserved.getsockname()[1]
        self._services = ServiceProcesses(Plan(self.directory, workers, self.flower_port))
        self._stack.callback(self._services.stop)

    def check(self) -> None:
        """Raise DemoFailed if a process has ended by itself."""
        if self._services is not None and self._services.ended():
            lines = self._tail("services", 3)
            named = [line.split()[0] for line in lines]
            for name in named:
                lines += [f"--- the end of {name}.log", *self._tail(name, 20)]
            raise DemoFailed("\n".join(lines) or "the workers have ended")

    @property
    def flower(self) -> str | None:
        """Flower's address with user and password; None if Flower does not run."""
        ended = any(line.startswith("flower ended") for line in self._tail("services", 3))
        if self.flower_port is None or ended:
            return None
        return f"http://{FLOWER_USER}:{self.flower_password}@127.0.0.1:{self.flower_port}"

    def _tail(self, name: str, lines: int) -> list[str]:
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []

    def _remove_namespace(self) -> None:
        client = open_client(self.redis_url, answer_within=5)
        # The server may be gone.
        with contextlib.suppress(RedisError):
            for key in client.scan_iter(f"{self.namespace}:*", count=1000):
                client.unlink(key)

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
        if isinstance(error, CeleriacError):
            # They show the reason.
            print(f"demo: the logs are kept in {self.directory}", file=sys.stderr)
        else:
            remove(self.directory)


def reserve(port: int) -> socket.socket:
    """Return a socket that keeps the first free port of the loopback interface from `port` on.

    Until it is closed, no other demo gets the port; Flower can listen on it. Raises DemoFailed.
    """
    for candidate in range(port, min(port + 100, 65536)):
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            reserved.bind(("127.0.0.1", candidate))
        except OSError:
            reserved.close()
            continue
        # Set after bind, which so fails on a port that another demo keeps. Flower sets it before.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return reserved
    raise DemoFailed(
        f"ports {port} to {min(port + 99, 65535)} are in use. Choose another with --port."
    )
