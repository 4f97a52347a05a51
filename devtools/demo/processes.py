"""All that the demo starts, and that it leaves nothing of."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from redis.exceptions import RedisError

from celeriac.errors import CeleriacError
from celeriac.store.redis.connection import open_client
from celeriac.testing.server import start_server
from devtools.demo.crew import Crew, Plan

ROOT = Path(__file__).resolve().parents[2]
FLOWER_USER = "demo"


class DemoFailed(CeleriacError):
    """The demo cannot go on. The message says why, with the end of the log that tells."""


class Processes:
    """Server, workers and Flower. Leaving the `with` block ends them, and so does any death.

    A server that CELERIAC_REDIS_URL names is used as it is, in a namespace of the demo's own,
    which is removed at the end. Else an embedded one is started, in a directory that goes as well.
    """

    def __init__(self) -> None:
        if not (ROOT / "config" / "services.py").is_file():
            raise DemoFailed("the demo is the shop of the repository: run it in a checkout of that")
        # Flower and the shop are found from here.
        os.chdir(ROOT)
        self.directory = Path(tempfile.mkdtemp(prefix="celeriac-demo-"))
        self.repaired = self.directory / "gateway-repaired"
        self.server = ""
        self.namespace = "celeriac"
        self.flower_port: int | None = None
        self.flower_password = secrets.token_hex(3)
        self.redis_url = os.environ.get("CELERIAC_REDIS_URL", "")
        self._crew: Crew | None = None
        self._stack = ExitStack()

    def start_server(self) -> None:
        if self.redis_url:
            self.server = "your server"
            self.namespace = f"celeriac-demo-{secrets.token_hex(4)}"
            self._stack.callback(self._remove_namespace)
        else:
            server = self._stack.enter_context(start_server(self.directory / "data"))
            self.server, self.redis_url = server.version, server.url
        # What is imported from here on reads it, in this process and in those it starts.
        os.environ.update(self.environment)
        self._write_shell()
        os.environ.pop("CELERIAC_BROKER_URL", None)
        os.environ.pop("CELERIAC_SERVICE", None)

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "CELERIAC_REDIS_URL": self.redis_url,
            "CELERIAC_NAMESPACE": self.namespace,
            # See handlers/gateway.py.
            "GATEWAY_REPAIRED": str(self.repaired),
            # Flower lets nobody act whom it does not know: see config/flower.py.
            "FLOWER_USER": FLOWER_USER,
            "FLOWER_PASSWORD": self.flower_password,
        }

    @property
    def shell(self) -> str:
        """The command after which `celeriac` and `celery` in another terminal reach this demo."""
        return f". {shlex.quote(str(self.directory / 'env'))}"

    def _write_shell(self) -> None:
        lines = [f"cd {shlex.quote(str(ROOT))}"]
        activate = Path(sys.prefix) / "bin" / "activate"
        if activate.exists():
            lines.append(f". {shlex.quote(str(activate))}")
        for name, value in self.environment.items():
            lines.append(f"export {name}={shlex.quote(value)}")
        lines.append(f"echo 'Try: celeriac lag; celeriac dead list. Logs: {self.directory}'")
        # It names Flower's password.
        descriptor = os.open(self.directory / "env", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(lines) + "\n")

    def repair(self) -> None:
        """Have the payment gateway know every card, so that redriven letters are processed."""
        self.repaired.touch()

    def start_crew(self, workers: Mapping[str, int], port: int) -> None:
        """Starts the workers, service → processes, and Flower on `port` or the next free one.

        Forks: call it before anything has started a thread or imported the shop.
        """
        if find_spec("flower") is not None:
            self.flower_port = next_free(port)
        self._crew = Crew(Plan(self.directory, workers, self.flower_port))
        self._stack.callback(self._crew.stop)

    def check(self) -> None:
        """Raises DemoFailed if a process has ended by itself."""
        if self._crew is not None and self._crew.ended():
            told = self._tail("crew", 3)
            named = [line.split()[0] for line in told]
            for name in named:
                told += [f"--- the end of {name}.log", *self._tail(name, 20)]
            raise DemoFailed("\n".join(told) or "the workers have ended")

    @property
    def flower(self) -> str | None:
        """Flower's address with user and password, if there is a Flower."""
        ended = any(line.startswith("flower ended") for line in self._tail("crew", 3))
        if self.flower_port is None or ended:
            return None
        return f"http://{FLOWER_USER}:{self.flower_password}@127.0.0.1:{self.flower_port}"

    def _tail(self, name: str, lines: int) -> list[str]:
        log = self.directory / f"{name}.log"
        return log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []

    def _remove_namespace(self) -> None:
        client = open_client(self.redis_url, answer_within=5)
        # The server may be what is gone.
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
            # Whoever looks for the reason will want the logs.
            print(f"demo: the logs are kept in {self.directory}", file=sys.stderr)
        else:
            _remove(self.directory)


def next_free(port: int) -> int:
    """The first port from `port` on that nobody listens at, on the loopback interface."""
    for candidate in range(port, min(port + 100, 65536)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return candidate
    raise DemoFailed(f"no port is free from {port} on; --port names another")


def _remove(directory: Path) -> None:
    """Also where processes that are being killed still write into it."""
    deadline = time.monotonic() + 2
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.005)
