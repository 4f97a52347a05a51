"""The machine and the versions of a run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.bench import Bench

PACKAGES = (
    "celery", "kombu", "redis", "hiredis", "msgspec", "faststream", "dramatiq", "taskiq",
    "taskiq-redis", "uvloop", "huey",
)  # fmt: skip


def describe(bench: Bench) -> Mapping[str, str]:
    """Return facts by name, in the order in which they are printed."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} × {processor()}, {memory()}",
        "system": f"Linux {platform.release()}",
        "load": f"{os.getloadavg()[0]:.1f} at the start",
        "server": f"{bench.server.version}, on loopback, no persistence",
        "Python": platform.python_version(),
        **{name: release for name in ("celeriac", *PACKAGES) if (release := installed(name))},
    }


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
