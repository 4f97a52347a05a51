"""A real Flower on an embedded server, and the data it shows, made through the library."""

from __future__ import annotations

import base64
import os
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from celeriac.settings import Settings
from celeriac.store.factory import redis_backend
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import GuardedProcess, guarded_popen
from tests.unit.tracking.shop import Shop

APP = Path(__file__).parent / "app"
USER, PASSWORD = "ada", "secret"
STARTS_WITHIN = 90.0


class _AsItIs(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer, and not followed."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


_opener = urllib.request.build_opener(_AsItIs)


@dataclass(frozen=True)
class Answer:
    """Flower's response to a request."""

    status: int
    headers: Message
    text: str


@dataclass
class Flower:
    """One `celery -A watched flower`. `settings` are those of the bus that it shows."""

    settings: Settings
    directory: Path
    options: tuple[str, ...] = (f"--basic-auth={USER}:{PASSWORD}",)
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    prefix: str = ""
    process: GuardedProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    @property
    def log(self) -> Path:
        return self.directory / f"flower-{self.port}.log"

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def launch(self) -> GuardedProcess:
        """Starts the process and does not wait."""
        bare = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWER_", "CELERIAC_"))}
        environment = {
            **bare,
            "CELERIAC_REDIS_URL": self.settings.redis_url,
            "CELERIAC_NAMESPACE": self.settings.namespace,
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }
        command = [sys.executable, "-m", "celery", "-A", "watched", "flower"]
        command += [f"--port={self.port}", *self.options]
        with self.log.open("ab") as out:
            self.process = guarded_popen(command, env=environment, cwd=APP, stdout=out, stderr=out)
        return self.process

    def start(self) -> Flower:
        process = self.launch()
        deadline = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < deadline:
            if process.poll() is not None:
                pytest.fail(f"Flower ended with {process.returncode}:\n{self.said()}")
            try:
                if self.ask("/healthcheck", user="").status == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        pytest.fail(f"Flower did not start:\n{self.said()}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill_group()
            self.process.wait(30)
            self.process = None

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        user: str = f"{USER}:{PASSWORD}",
        **headers: str,
    ) -> Answer:
        """One request, as a program makes it. `Sec_Fetch_Site="…"` sends that header."""
        request = urllib.request.Request(self.url + path, data=body, method=method)
        if user:
            encoded = base64.b64encode(user.encode()).decode()
            request.add_header("Authorization", f"Basic {encoded}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with _opener.open(request, timeout=60) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode())

    def act(self, name: str, body: bytes = b"{}", **options: Any) -> Answer:
        """An act, asked for as our own script does."""
        headers = {"Content_Type": "application/json", "Sec_Fetch_Site": "same-origin"}
        return self.ask(
            f"/celeriac/action/{name}", method="POST", body=body, **{**headers, **options}
        )


def shop_of(settings: Settings) -> Shop:
    """Services that a test drives step by step, on the bus that Flower shows."""
    return Shop(redis_backend(settings), settings)
