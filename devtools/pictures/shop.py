"""The running demo that the pictures show."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devtools.pictures.terminal import TerminalCommand

ROOT = Path(__file__).resolve().parents[2]
SHOP = ("config", "contracts", "devtools", "handlers", "tasks", "pyproject.toml")
CELERIAC = str(Path(sys.executable).with_name("celeriac"))
WIDTH, HEIGHT = 108, 24
STARTS_WITHIN = 90.0
ADDRESS = re.compile(r"http://(\w+):(\w+)@(127\.0\.0\.1:\d+)")
ENVIRONMENT_FILE = re.compile(r"\. (/\S+/env)\b")


@dataclass(frozen=True)
class RunningShop:
    """`environment` is what commands need to reach its bus."""

    screen: TerminalCommand
    directory: Path
    environment: Mapping[str, str]
    flower: str
    user: str
    password: str

    def run(self, *command: str, width: int = 112, height: int = 40) -> TerminalCommand:
        """Start `celeriac …` in a terminal."""
        return TerminalCommand(
            [CELERIAC, *command],
            cwd=self.directory, env=self.environment, width=width, height=height,
        )  # fmt: skip

    def read(self, *command: str) -> str:
        """Return the output of `celeriac …`."""
        result = subprocess.run(
            [CELERIAC, *command], cwd=self.directory, timeout=60, check=True,
            env={**os.environ, **self.environment}, capture_output=True, text=True,
        )  # fmt: skip
        return result.stdout


@contextlib.contextmanager
def running_shop(rate: float) -> Iterator[RunningShop]:
    """Run the demo with `rate` orders a second, in a directory with a neutral name.

    Tracebacks name that directory, which would otherwise be the developer's own.
    """
    with _copy() as directory:
        command = [sys.executable, "-m", "devtools.demo", "--rate", f"{rate:g}"]
        with TerminalCommand(
            command, cwd=directory, env={"PYTHONPATH": str(directory)}, width=WIDTH, height=HEIGHT
        ) as screen:
            frame = screen.wait_for(
                lambda frame: bool(ADDRESS.search(_plain(frame))), STARTS_WITHIN
            )
            address = ADDRESS.search(_plain(frame))
            file = ENVIRONMENT_FILE.search(_plain(frame))
            if address is None or file is None:
                raise LookupError(f"the demo shows no address of Flower:\n{frame}")
            yield RunningShop(
                screen=screen,
                directory=directory,
                environment=_exported(Path(file[1])),
                flower=f"http://{address[3]}",
                user=address[1],
                password=address[2],
            )
            screen.press("q")
            screen.wait(30)


@contextlib.contextmanager
def _copy() -> Iterator[Path]:
    """Copy the shop of the checkout to /srv/shop, or below the temporary directory."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path("/srv/shop")
        if directory.exists() or not os.access(directory.parent, os.W_OK):
            directory = Path(temporary) / "shop"
        directory.mkdir()
        try:
            for name in SHOP:
                source = ROOT / name
                if source.is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(source, directory / name, ignore=ignored)
                elif source.exists():
                    shutil.copy(source, directory / name)
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _exported(file: Path) -> Mapping[str, str]:
    """Return the variables that a shell script exports."""
    script = f". {file} >/dev/null && env -0"
    before = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    result = subprocess.run(["sh", "-c", script], capture_output=True, env=before, check=True)
    pairs = (entry.partition("=") for entry in result.stdout.decode().split("\0") if entry)
    return {
        name: value
        for name, _, value in pairs
        if name.startswith(("CELERIAC_", "FLOWER_", "SANDBOX_"))
    }


def _plain(frame: str) -> str:
    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", frame)
