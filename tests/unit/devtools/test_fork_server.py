"""A forked program is a process like any other: arguments, environment, signals, end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.testing.process_guard import GuardedProcess
from devtools.fork_server import ForkServer

ROOT = Path(__file__).parents[3]
# One write for a whole line: `print` makes two of it without a buffer, and a reader or a second
# process could come in between.
SLEEPS = "import os, sys, time; os.write(1, b'runs %d\\n' % os.getpid()); time.sleep(60)"


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer(["json"])
    yield server
    server.close()


class Program:
    """A program that the server forked, and what it wrote."""

    def __init__(self, server: ForkServer, directory: Path, *args: str, **env: str) -> None:
        self.log = directory / "log"
        with self.log.open("wb") as out:
            self.process: GuardedProcess = server.popen(
                [sys.executable, *args], env=env, cwd=directory, stdout=out, stderr=out
            )

    def result(self) -> tuple[int, list[str]]:
        return self.process.wait(20), self.log.read_text().splitlines()

    def until_it_runs(self) -> None:
        while not self.log.read_text():
            assert self.process.poll() is None


def test_code_runs_with_its_own_arguments_environment_and_directory(
    server: ForkServer, tmp_path: Path
) -> None:
    code = (
        "import os, sys; print(sys.argv, dict(os.environ), os.getcwd(), __name__, sys.stdin.read())"
    )
    program = Program(server, tmp_path, "-c", code, "a", A="b")
    expected = f"['-c', 'a'] {{'A': 'b'}} {tmp_path} __main__ "
    assert (0, [expected]) == program.result()


def test_a_module_is_found_as_python_finds_it(server: ForkServer, tmp_path: Path) -> None:
    """In the directory first, then in PYTHONPATH, and nowhere in the repository."""
    (tmp_path / "here.py").write_text(
        "import sys, there, importlib.util\n"
        "print(__name__, sys.argv[0] == __file__, sys.argv[1:], there.__name__)\n"
        "print(importlib.util.find_spec('fork_server'), 'json' in sys.modules)\n"
    )
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "there.py").touch()
    path = str(tmp_path / "path")
    program = Program(server, tmp_path, "-m", "here", "a", PYTHONPATH=path)
    assert (0, ["__main__ True ['a'] there", "None True"]) == program.result()


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise SystemExit(3)"])
def test_it_ends_as_a_process_does(server: ForkServer, tmp_path: Path, end: str) -> None:
    code = f"import atexit, sys; atexit.register(print, 'at exit'); {end}"
    assert (3, ["at exit"]) == Program(server, tmp_path, "-c", code).result()


def test_an_error_is_shown_and_is_status_1(server: ForkServer, tmp_path: Path) -> None:
    status, lines = Program(server, tmp_path, "-c", "1 / 0").result()
    assert (1, "ZeroDivisionError: division by zero") == (status, lines[-1])


def test_its_output_is_that_of_stdout_and_stderr(server: ForkServer, tmp_path: Path) -> None:
    """A program that was given PYTHONDONTWRITEBYTECODE writes none."""
    code = "import sys; print(sys.dont_write_bytecode); print('no', file=sys.stderr); sys.exit(2)"
    command = [sys.executable, "-c", code]
    done = server.run(command, env={"PYTHONDONTWRITEBYTECODE": "1"}, cwd=tmp_path)
    assert (2, ["True", "no"]) == (done.returncode, done.stdout.splitlines())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_dies_of_a_signal(server: ForkServer, tmp_path: Path, number: signal.Signals) -> None:
    program = Program(server, tmp_path, "-c", SLEEPS)
    program.until_it_runs()
    program.process.send_signal(number)
    status, lines = program.result()
    assert (-number, [f"runs {program.process.pid}"]) == (status, lines)


def test_it_leads_its_own_group_and_its_children_die_with_it(
    server: ForkServer, tmp_path: Path
) -> None:
    program = Program(server, tmp_path, "-c", f"import os; os.fork(); {SLEEPS}")
    while program.log.read_text().count("runs") < 2:
        assert program.process.poll() is None
    pids = [int(line.split()[1]) for line in program.log.read_text().splitlines()]
    assert {program.process.pid} == {os.getpgid(pid) for pid in pids}
    os.kill(program.process.pid, signal.SIGKILL)
    assert -signal.SIGKILL == program.process.wait(20)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            while True:
                os.kill(pid, 0)


def test_it_ends_with_the_caller_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    caller = (
        "import os, sys, signal, pathlib\n"
        "from devtools.fork_server import ForkServer\n"
        f"directory = pathlib.Path({str(tmp_path)!r})\n"
        "log = directory / 'log'\n"
        "with log.open('wb') as out:\n"
        f"    process = ForkServer(['json']).popen([sys.executable, '-c', {SLEEPS!r}],\n"
        "        env={}, cwd=directory, stdout=out, stderr=out)\n"
        "while not log.read_text(): pass\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", caller], cwd=ROOT, timeout=60)
    assert -signal.SIGKILL == killed.returncode
    pid = int(log.read_text().split()[1])
    with pytest.raises(ProcessLookupError):
        while True:
            os.kill(pid, 0)
