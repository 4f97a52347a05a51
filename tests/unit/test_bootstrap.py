"""dev.py starts on any Python 3, and installs nothing twice, by halves, or with another hash."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "dev.py"
LOCKS = ("demo", "suite", "compat", "bench", "check", "docs", "release")


def run(*command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], env=env or None, capture_output=True, text=True, timeout=90
    )


@pytest.fixture
def dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def old_pythons() -> list[Path]:
    return sorted(Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python3"))


def test_help_lists_every_command_with_a_line_on_each(dev: ModuleType) -> None:
    said = run(sys.executable, SCRIPT, "--help")
    assert said.returncode == 0
    for name, command in dev.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.help)}$", said.stdout, re.M)


def test_all_checks_run_unless_some_are_named(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def call(command: list[str]) -> int:
        ran.append(" ".join(command[1:]))
        return 0

    monkeypatch.setattr(dev.subprocess, "call", call)
    assert 0 == dev.check("bin/python", [])
    assert len(ran) == len(dev.CHECKS)
    assert "-m devtools.language" == ran[-1]
    ran.clear()
    assert 0 == dev.check("bin/python", ["language"])
    assert ["-m devtools.language"] == ran


def test_an_unknown_command_is_refused_in_one_line(dev: ModuleType) -> None:
    said = run(sys.executable, SCRIPT, "dmeo")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == f"dev.py: no command 'dmeo'; there are {', '.join(dev.COMMANDS)}\n"


def test_bytecode_is_kept_below_celeriac_where_the_environment_forbids_it(dev: ModuleType) -> None:
    environ = {"PYTHONDONTWRITEBYTECODE": "1"}
    dev.keep_bytecode(environ)
    assert {"PYTHONPYCACHEPREFIX": f"{ROOT}/.celeriac/bytecode"} == environ
    environ = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "/cache"}
    dev.keep_bytecode(environ)
    assert {"PYTHONPYCACHEPREFIX": "/cache"} == environ
    environ = {}
    dev.keep_bytecode(environ)
    assert {} == environ


@pytest.mark.parametrize(
    "arguments",
    [
        ["-n0"], ["--numprocesses", "4"], ["tests/unit/test_fork.py"],
        ["tests/unit/test_fork.py::test", "README.md"], ["--pdb"], ["-s", "tests"],
        ["--collect-only"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_few_tests_and_those_with_the_terminal_run_in_one_process(
    dev: ModuleType, arguments: list[str]
) -> None:
    assert arguments == dev.test_arguments(arguments, 2)


@pytest.mark.parametrize("arguments", [[], ["tests/unit", "README.md"], ["-k", "emit"]])
def test_others_run_in_three_times_as_many_processes_as_cores(
    dev: ModuleType, arguments: list[str]
) -> None:
    made = dev.test_arguments(arguments, 2)
    assert ["-n", "6"] == made[:2]
    assert arguments == made[len(made) - len(arguments) :]


def test_the_script_parses_as_python_3_6() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))


def test_an_old_python_is_an_error_of_one_line(tmp_path: Path) -> None:
    if not old_pythons():
        pytest.skip("no Python 3.6 to 3.9 below ~/.pyenv/versions")
    for python in old_pythons():
        said = run(python, SCRIPT, "test", PATH=str(tmp_path))
        assert (said.returncode, said.stdout) == (2, "")
        assert re.fullmatch(r"dev\.py: needs Python 3\.11 or newer; this is 3\..*\n", said.stderr)


def test_an_old_python_becomes_a_newer_one_on_path_that_works(tmp_path: Path) -> None:
    if not old_pythons():
        pytest.skip("no Python 3.6 to 3.9 below ~/.pyenv/versions")
    # as a shim of pyenv for a version that is not chosen
    (tmp_path / "python3.14").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.14").chmod(0o755)
    (tmp_path / "python3.13").write_text('#!/bin/sh\n[ "$1" = -c ] || echo "newer runs $*"\n')
    (tmp_path / "python3.13").chmod(0o755)
    said = run(old_pythons()[0], SCRIPT, "test", "-x", PATH=str(tmp_path))
    assert (0, f"newer runs {SCRIPT} test -x\n") == (said.returncode, said.stdout)


@pytest.fixture
def project(dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A project whose installations are only noted down, in the list that this returns."""
    done: list[str] = []

    def install(home: str, python: str, lock: str) -> None:
        done.append(lock)
        os.makedirs(os.path.dirname(python))
        Path(python).touch()

    def install_project(home: str, python: str) -> None:
        done.append("celeriac")

    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/test.txt").write_text("celery==5.7.0\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dev, "STATE", str(tmp_path / ".celeriac"))
    monkeypatch.setattr(dev, "install", install)
    monkeypatch.setattr(dev, "install_project", install_project)
    return done


def test_an_environment_is_made_once(dev: ModuleType, project: list[str]) -> None:
    assert dev.environment("test") == dev.environment("test")
    assert project == ["requirements/test.txt", "celeriac"]


def test_another_lock_is_another_environment(dev: ModuleType, project: list[str]) -> None:
    first = dev.environment("test")
    Path("requirements/test.txt").write_text("celery==5.7.1\n")
    assert first != dev.environment("test")
    assert len(project) == 4


def test_a_changed_pyproject_installs_the_project_again_and_nothing_else(
    dev: ModuleType, project: list[str]
) -> None:
    first = dev.environment("test")
    Path("pyproject.toml").write_text("[project]\nname = 'celeriac'\n")
    assert first == dev.environment("test")
    assert project == ["requirements/test.txt", "celeriac", "celeriac"]


def test_an_interrupted_installation_starts_afresh(
    dev: ModuleType, project: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(home: str, python: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(dev, "install_project", interrupt)
        with pytest.raises(KeyboardInterrupt):
            dev.environment("test")
    home = next(Path(".celeriac").glob("venv-*"))
    (home / "half").touch()
    dev.environment("test")
    assert not (home / "half").exists()
    assert project == ["requirements/test.txt", "requirements/test.txt", "celeriac"]


@pytest.fixture
def served(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """The pages of a package index, by their URL."""
    pages: dict[str, bytes] = {}
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/simple")
    monkeypatch.setattr(dev, "fetch", pages.__getitem__)
    link = f'<a href="../../files/{dev.PIP_WHEEL}#sha256=0">{dev.PIP_WHEEL}</a>'
    pages["https://index.test/simple/pip/"] = link.encode()
    return pages


def test_pip_is_fetched_from_the_index_in_use(
    dev: ModuleType, served: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served[f"https://index.test/files/{dev.PIP_WHEEL}"] = b"wheel"
    monkeypatch.setattr(dev, "PIP_SHA256", hashlib.sha256(b"wheel").hexdigest())
    dev.download_pip(str(tmp_path / "pip.whl"))
    assert (tmp_path / "pip.whl").read_bytes() == b"wheel"


def test_a_pip_with_another_hash_is_refused_and_not_kept(
    dev: ModuleType, served: dict[str, bytes], tmp_path: Path
) -> None:
    served[f"https://index.test/files/{dev.PIP_WHEEL}"] = b"another wheel"
    with pytest.raises(dev.Failure, match="another sha256"):
        dev.download_pip(str(tmp_path / "pip.whl"))
    assert not list(tmp_path.iterdir())


def test_progress_without_a_terminal_is_plain_lines_on_stderr(
    dev: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 4.0, 5.0])
    # Not the module's for the whole process: other threads read the time, too.
    monkeypatch.setattr(dev, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    progress = dev.Progress("installing")
    progress.note("Downloading celery-5.7.0-py3-none-any.whl (440 kB)")
    progress.note("Downloading kombu-5.7.0-py3-none-any.whl (216 kB)")
    progress.close("installed")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "dev.py: installing",
        "dev.py:   4 s  Downloading kombu-5.7.0-py3-none-any.whl (216 kB)",
        "dev.py: installed (5.0 s)",
    ]


def test_progress_on_a_terminal_is_one_live_line(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(dev.sys, "stderr", Terminal())
    progress = dev.Progress("installing")
    progress.note("Collecting celery==5.7.0 (from -r requirements/demo.txt (line 1))")
    said = dev.sys.stderr.getvalue()
    assert said == "\r\x1b[K   0 s  installing: Collecting celery==5.7.0"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_locks_agree_with_uv_lock_and_name_no_index(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.M))
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    assert pinned <= {(package["name"], package.get("version")) for package in locked}
    assert "://" not in text
    assert len(pinned) == len(re.findall(r"^\S.*==.*\\\n    --hash=sha256:", text, re.M))


def test_uv_lock_names_only_the_public_index() -> None:
    urls = re.findall(r"https?://[^/\"]+", (ROOT / "uv.lock").read_text())
    assert set(urls) == {"https://pypi.org", "https://files.pythonhosted.org"}
