"""Read lock files from a commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

from celeriac.errors import ConfigurationError

PREFIX = "git:"


def committed_locks(directory: Path, against: str) -> dict[str, bytes]:
    """Return the lock files of a directory in a commit, by name; none if it had none.

    `against` is `git:REF`. Raises ConfigurationError if the commit does not exist.
    """
    if not against.startswith(PREFIX) or against == PREFIX:
        raise ConfigurationError(
            f"--against is invalid: {against!r}. Write git:REF, for example git:origin/main."
        )
    ref, there = against.removeprefix(PREFIX), directory.resolve()
    while not there.is_dir():
        there = there.parent
    below = str(directory.resolve().relative_to(there))
    commit = _git(there, against, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    listed = _git(
        there, against, "ls-tree", "-z", "--name-only", commit.decode().strip(), f"{below}/"
    )
    names = [name for name in listed.decode().split("\0") if name.endswith(".json")]
    return {
        f"{ref}:{name}": _git(there, against, "show", f"{commit.decode().strip()}:./{name}")
        for name in names
    }


def _git(directory: Path, against: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, check=False
        )
    except OSError as error:
        raise ConfigurationError(f"--against needs git: {error}. Install git.") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigurationError(
            f"--against failed: {against}: {lines[-1] if lines else 'git failed'}. In CI, "
            "fetch the commit "
            "first: git fetch origin main."
        )
    return done.stdout
