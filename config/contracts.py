"""Check the contracts of each service: `python3 dev.py check contracts`.

A process has one service, so each service is checked in a process of its own. `--write` updates the
lock files in contracts/ instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from config.services import SERVICES

CELERIAC = str(Path(sys.executable).with_name("celeriac"))


def run(service: str, *arguments: str) -> int:
    environment = {**os.environ, "CELERIAC_SERVICE": service}
    return subprocess.call([CELERIAC, "contracts", *arguments, "-A", "config"], env=environment)


def main(arguments: list[str]) -> int:
    """Return 1 if the check of a service fails."""
    if arguments == ["--write"]:
        return max([run(service, "lock") for service in SERVICES])
    # A committed contract may already be in use.
    against = ("--against", "git:HEAD") if Path(".git").exists() else ()
    failed = [service for service in SERVICES if run(service, "check", *against)]
    if failed:
        print(f"contracts: the check of {', '.join(failed)} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
