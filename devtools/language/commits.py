"""The subjects of the commits that are checked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from devtools.language.passage import Kind, Passage


def subjects(root: Path, since: str) -> Iterator[Passage]:
    """Return the subjects after the commit `since`, with the commit in place of a file.

    Nothing where there is no repository or not that commit, as in an sdist or a shallow clone;
    standard error reports it.
    """
    command = ["git", "-C", str(root), "log", "--no-merges", "--format=%h %s", f"{since}..HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        print("language: git is not installed; no commit subject was checked", file=sys.stderr)
        return
    if result.returncode != 0:
        print(f"language: no commit subject was checked: {result.stderr.strip()}", file=sys.stderr)
        return
    for line in result.stdout.splitlines():
        commit, _, subject = line.partition(" ")
        yield Passage(Kind.SUBJECT, f"commit {commit}", 1, subject)
