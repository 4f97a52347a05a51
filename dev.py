#!/usr/bin/env python3
"""Everything that a developer runs, in an environment that makes itself.

usage: python3 dev.py COMMAND [ARGUMENTS...]

{commands}

It needs Python 3.11 or newer and a package index, and nothing else: no make, no Docker, no Redis.
The first run installs the versions locked in requirements/ below .celeriac/, with their hashes
checked; later runs only compare a hash. `rm -r .celeriac` undoes all of it.
"""

# This file is read by whatever `python3` there is: syntax of Python 3.6, standard library only.

import hashlib
import importlib.util
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, MutableMapping
from typing import IO, NamedTuple, NoReturn

OLDEST = (3, 11)
NEWER_NAMES = ("python3.14", "python3.13", "python3.12", "python3.11")
ROOT = os.path.dirname(os.path.abspath(__file__))
STATE = os.path.join(ROOT, ".celeriac")
PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


class Command(NamedTuple):
    """`lock` is the file in requirements/ that it needs; no `module` means a function in `main`."""

    help: str
    lock: "str | None"
    module: "str | None"


COMMANDS = {
    "demo": Command("the bus at work on this machine, faults included", "demo", "devtools.demo"),
    "test": Command(
        "the whole suite, or what arguments for pytest select (--quick, --full)", "suite", "pytest"
    ),
    "faults": Command(
        "what every fault loses and doubles (--full: all of them)", "suite", "devtools.faults"
    ),
    "check": Command(
        "ruff, mypy, imports, contracts, chart, docs, language …, or those named", "check", None
    ),
    "mutants": Command(
        "faults put into the code, and those the tests miss", "suite", "devtools.mutants"
    ),
    "bench": Command("speed, and that of others: --quick, --json, …", "bench", "benchmarks"),
    "compat": Command(
        "the tests on every supported release (--list, --quick, CELL…)",
        "compat",
        "devtools.compat",
    ),
    "pictures": Command(
        "docs/images from the running demo (needs chromium)", "suite", "devtools.pictures"
    ),
    "docs": Command(
        "the documentation site (--serve: and show it while you write)", "docs", "mkdocs"
    ),
    "release": Command(
        "build the wheel, test it in a clean environment; SBOM, hashes",
        "release",
        "devtools.release",
    ),
    "lock": Command("renew uv.lock and requirements/ (needs uv)", None, None),
}

CHECKS = {
    "ruff": ["ruff", "check"],
    "format": ["ruff", "format", "--check"],
    "mypy": ["mypy"],
    "pyright": ["pyright"],
    "imports": ["lint-imports", "--no-logo"],
    "contracts": ["python", "-m", "config.contracts"],
    "chart": ["python", "-m", "devtools.chart"],
    "docs": ["dev.py", "docs"],
    "language": ["python", "-m", "devtools.language"],
}


class Failure(Exception):
    """What went wrong, for the user of this script."""


def main(argv: "list[str]") -> int:
    if os.name != "posix":
        raise Failure("Windows is not supported; WSL is")
    if not argv or argv[0] in ("-h", "--help", "help"):
        lines = [f"  {name:10}{command.help}" for name, command in COMMANDS.items()]
        print((__doc__ or "").format(commands="\n".join(lines)).strip())
        return 0 if argv else 2
    name, arguments = argv[0], argv[1:]
    if name not in COMMANDS:
        raise Failure(f"no command {name!r}; there are {', '.join(COMMANDS)}")
    if sys.version_info < OLDEST:
        run_newer_python(argv)
    os.chdir(ROOT)
    command = COMMANDS[name]
    if command.lock is None:
        return renew_locks()
    keep_bytecode(os.environ)
    python = environment(command.lock)
    if name == "test":
        arguments = test_arguments(arguments, os.cpu_count() or 1)
    if name == "docs":
        arguments = docs_arguments(arguments)
    os.environ.pop("PYTHONHOME", None)
    os.environ["VIRTUAL_ENV"] = os.path.dirname(os.path.dirname(python))
    os.environ["PATH"] = os.path.dirname(python) + os.pathsep + os.environ.get("PATH", os.defpath)
    if command.module is None:
        return check(python, arguments)
    os.execv(python, [python, "-m", command.module, *arguments])


def run_newer_python(argv: "list[str]") -> "NoReturn":
    """Become a newer Python from PATH. Its name is not enough: pyenv's are there and may refuse."""
    for name in NEWER_NAMES:
        python = shutil.which(name)
        probe = f"import sys; sys.exit(sys.version_info < {OLDEST})"
        if python and subprocess.call([python, "-c", probe], stderr=subprocess.DEVNULL) == 0:
            os.execv(python, [python, os.path.abspath(__file__), *argv])
    here = ".".join(map(str, sys.version_info[:3]))
    raise Failure(f"needs Python 3.11 or newer; this is {here} and PATH has no newer one")


def keep_bytecode(environ: "MutableMapping[str, str]") -> None:
    """Write bytecode below .celeriac/ if the environment forbids to write it.

    Tests and faults start hundreds of workers. Without bytecode each of them compiles all that it
    imports: half of the CPU time of the suite.
    """
    if environ.pop("PYTHONDONTWRITEBYTECODE", None):
        environ.setdefault("PYTHONPYCACHEPREFIX", os.path.join(ROOT, STATE, "bytecode"))


# --- the environment ---


def environment(lock: str) -> str:
    """The interpreter of the environment for a lock file, which is made first when there is none.

    The directory is named after all that it was made from. What was made is complete when its
    marker is there, which is written last and holds the project's own state.
    """
    path = os.path.join("requirements", lock + ".txt")
    if not os.path.exists(path):
        raise Failure(f"{path} is missing; `python3 dev.py lock` writes it")
    with open(path, "rb") as file:
        made_from = [file.read(), sys.version.encode(), sys.base_prefix.encode(), ROOT.encode()]
    home = os.path.join(STATE, "venv-" + digest(*made_from)[:12])
    python = os.path.join(home, "bin", "python")
    marker = os.path.join(home, "complete")
    with open("pyproject.toml", "rb") as file:
        project = digest(file.read())
    if os.path.exists(python) and content(marker) == project:
        return python
    os.makedirs(STATE, exist_ok=True)
    with open(os.path.join(STATE, "lock"), "w") as guard:
        wait_for_others(guard)
        if not os.path.exists(python) or content(marker) is None:
            shutil.rmtree(home, ignore_errors=True)
            install(home, python, path)
        if content(marker) != project:
            install_project(home, python)
            with open(marker, "w") as file:
                file.write(project)
    return python


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def content(path: str) -> "str | None":
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return None


def wait_for_others(guard: "IO[str]") -> None:
    """Hold the lock on making environments until `guard` is closed."""
    import fcntl

    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("dev.py: waiting for another dev.py to finish installing", file=sys.stderr)
        fcntl.flock(guard, fcntl.LOCK_EX)


def install(home: str, python: str, lock: str) -> None:
    """Make the environment and install what the lock file names: by uv if it can, else by pip."""
    try:
        import venv
    except ImportError:
        raise Failure("this Python has no venv module; install the package python3-venv") from None
    # without pip: ensurepip is missing from Debian's Python, and takes seconds elsewhere
    venv.EnvBuilder(symlinks=True, with_pip=False).create(home)
    with open(lock) as file:
        count = len(re.findall(r"^[a-z].*==", file.read(), re.M))
    progress = Progress(f"installing {count} packages, once")
    failure = None
    for name, installer in installers(python, progress):
        failure = run(
            [*installer, "--require-hashes", "--only-binary", ":all:", "-r", lock], progress
        )
        if failure is None:
            progress.close(f"installed by {name} in {os.path.relpath(home, ROOT)}")
            return
        progress.close(f"{name} failed: {failure.splitlines()[-1] if failure else ''}")
    shutil.rmtree(home, ignore_errors=True)
    raise Failure(f"the packages could not be installed:\n{failure}")


def install_project(home: str, python: str) -> None:
    """Install celeriac itself, as a link to src/. Its build backend is in each lock file."""
    progress = Progress("installing celeriac itself")
    failure = None
    for _, installer in installers(python, progress):
        failure = run([*installer, "--no-deps", "--no-build-isolation", "-e", ROOT], progress)
        if failure is None:
            progress.close("installed celeriac itself, as a link to src/")
            return
    raise Failure(f"celeriac could not be installed:\n{failure}")


def installers(python: str, progress: "Progress") -> "Iterator[tuple[str, list[str]]]":
    """The commands that can install into an environment, the best first."""
    uv = shutil.which("uv")
    if uv:
        yield "uv", [uv, "pip", "install", "--python", python]
    options = ["install", "--no-compile", "--no-input", "--progress-bar", "off"]
    options += ["--disable-pip-version-check", "--no-warn-script-location"]
    # pip 22.3 or later installs into an environment without pip, by --python, and does not take it
    # for the system's Python, which may be protected
    if pip_version() >= (22, 3):
        yield "pip", [sys.executable, "-m", "pip", "--python", python, *options]
    elif run([python, "-m", "ensurepip"], progress) is None:
        yield "pip", [python, "-m", "pip", *options]
    else:
        wheel = os.path.join(STATE, PIP_WHEEL)
        if not os.path.exists(wheel):
            progress.show("downloading " + PIP_WHEEL)
            download_pip(wheel)
        yield "pip", [python, os.path.join(wheel, "pip"), *options]


def pip_version() -> "tuple[int, ...]":
    if importlib.util.find_spec("pip") is None:
        return (0,)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return tuple(map(int, re.findall(r"\d+", version("pip"))[:2]))
    except PackageNotFoundError:
        return (0,)


def download_pip(target: str) -> None:
    """Fetch pip's wheel from the index, and refuse one with another hash than ours."""
    from urllib.parse import urljoin  # these two are slow to import, and rarely needed

    index = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    page_url = index.rstrip("/") + "/pip/"
    try:
        page = fetch(page_url).decode()
        link = re.search(rf'href="([^"#]*{re.escape(PIP_WHEEL)})[#"]', page)
        if link is None:
            raise Failure(f"{page_url} has no {PIP_WHEEL}; install pip 22.3 or newer, or uv")
        wheel = fetch(urljoin(page_url, link.group(1)))
    except OSError as error:
        raise Failure(f"neither uv nor pip is here, and {page_url} answers: {error}") from None
    if hashlib.sha256(wheel).hexdigest() != PIP_SHA256:
        raise Failure(f"{page_url} has a {PIP_WHEEL} with another sha256 than {PIP_SHA256}")
    with open(target + ".part", "wb") as file:
        file.write(wheel)
    os.replace(target + ".part", target)


def fetch(url: str) -> bytes:
    from urllib.request import urlopen

    with urlopen(url, timeout=60) as answer:
        data: bytes = answer.read()
        return data


def run(command: "list[str]", progress: "Progress") -> "str | None":
    """Run an installer and show its progress. Return the end of its output if it failed."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=installer_environment(),
    )
    assert process.stdout is not None
    output = b""
    try:
        while True:
            progress.draw()
            if not select.select([process.stdout], [], [], 0.2)[0]:
                continue
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                break
            *lines, _ = (output[output.rfind(b"\n") + 1 :] + part).split(b"\n")
            output += part
            for line in lines:
                progress.note(line.decode(errors="replace").strip())
        if process.wait() == 0:
            return None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
    return "\n".join(output.decode(errors="replace").splitlines()[-20:])


def installer_environment() -> "dict[str, str]":
    """Ours, with the index and certificates of pip also under the names that uv reads."""
    env = dict(os.environ, PIP_USER="0", PYTHONIOENCODING="utf-8")
    for theirs, ours in (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("SSL_CERT_FILE", "PIP_CERT")):
        if ours in env:
            env.setdefault(theirs, env[ours])
    return env


class Progress:
    """A live line on a terminal, a plain line now and then elsewhere; always on stderr."""

    WORTH_SHOWING = re.compile(
        r"(Collecting|Downloading|Downloaded|Using cached|Installing|Building|Resolved|Prepared)\b"
    )

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.live = sys.stderr.isatty()
        self.started = self.drawn = time.monotonic()
        if not self.live:
            self._write(f"dev.py: {title}\n")

    def note(self, line: str) -> None:
        """Show a line of an installer if it names what is being fetched."""
        if self.WORTH_SHOWING.match(line):
            self.show(re.sub(r"\s+\(from .*|(?<=Installing) collected packages:.*", "", line))

    def show(self, detail: str) -> None:
        self.detail = detail
        self.draw()

    def draw(self) -> None:
        now = time.monotonic()
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            line = f"{now - self.started:4.0f} s  {self.title}: {self.detail}"
            self._write("\r\033[K" + line[:width])
        elif now - self.drawn >= 3 and self.detail:
            self._write(f"dev.py: {now - self.started:3.0f} s  {self.detail}\n")
            self.drawn, self.detail = now, ""

    def close(self, text: str) -> None:
        seconds = time.monotonic() - self.started
        self._write(("\r\033[K" if self.live else "") + f"dev.py: {text} ({seconds:.1f} s)\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


# --- the commands that are more than a module ---


def test_arguments(arguments: "list[str]", cores: int) -> "list[str]":
    """Those of pytest. Tests run in parallel unless only some files are named, or `-n` is given.

    Starting a process takes 3 to 5 s of CPU time. Many tests wait most of the time, so there are
    more processes than cores. With `-s` and `--pdb` a test has the terminal, which is one.
    """
    paths = [argument.partition("::")[0] for argument in arguments]
    paths = [path for path in paths if os.path.exists(path)]
    few = bool(paths) and all(map(os.path.isfile, paths))
    alone = ("-n", "--numprocesses", "-s", "--capture", "--pdb", "--collect-only", "--co", "--help")
    if few or any(argument.startswith(alone) for argument in arguments):
        return arguments
    return ["-n", str(3 * cores), *arguments]


def docs_arguments(arguments: "list[str]") -> "list[str]":
    """Those of MkDocs: build the site below .celeriac/, or serve it."""
    # Material for MkDocs warns at each start about MkDocs 2; pyproject.toml requires MkDocs 1.
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    if "--serve" in arguments:
        return ["serve", *[argument for argument in arguments if argument != "--serve"]]
    return ["build", "--clean", *arguments]


def check(python: str, names: "list[str]") -> int:
    """Run every check, also after one has failed."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise Failure(f"no check {unknown[0]!r}; there are {', '.join(CHECKS)}")
    failed = []
    for name in names or CHECKS:
        command = [*CHECKS[name]]
        print("==> " + " ".join(command), flush=True)
        if command[0] == "dev.py":
            # in an environment of its own
            command.insert(0, sys.executable)
        else:
            command[0] = os.path.join(os.path.dirname(python), command[0])
        # mypy and pyright find packages only in the Python that is named
        if name == "pyright":
            command += ["--pythonpath", python]
        if subprocess.call(command) != 0:
            failed.append(name)
    print("check: " + (", ".join(failed) + " failed" if failed else "all passed"), flush=True)
    return 1 if failed else 0


def renew_locks() -> int:
    """Resolve again, and export what pip and uv install from: one file for each environment."""
    uv = shutil.which("uv")
    if uv is None:
        raise Failure("`dev.py lock` needs uv on PATH (`pip install uv`)")
    subprocess.check_call([uv, "lock", "--upgrade"])
    os.makedirs("requirements", exist_ok=True)
    groups = (
        ("demo", "--group=demo"),
        ("suite", "--group=suite"),
        ("compat", "--group=compat"),
        ("bench", "--group=bench"),
        ("check", "--group=dev"),
        # without what celeriac itself needs: neither imports it
        ("docs", "--only-group=docs"),
        ("release", "--only-group=release"),
    )
    for lock, group in groups:
        target = os.path.join("requirements", lock + ".txt")
        export = [uv, "export", "--quiet", "--frozen", "--no-default-groups", group]
        export += ["--no-emit-project", "--no-annotate", "--no-header", "-o", target]
        subprocess.check_call(export)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        print(f"dev.py: {failure}", file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            sys.stderr.write("\n")
        sys.exit(130)
