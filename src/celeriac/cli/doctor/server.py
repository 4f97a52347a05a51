"""Is the server one that keeps what it is given?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from celeriac.cli.doctor.finding import Finding, Patient, fail, ok, warn
from celeriac.connection import address

LEAST_REDIS, LEAST_VALKEY = (7, 0), (7, 2)


def check_server(patient: Patient) -> Iterator[Finding]:
    """Version, eviction, persistence and memory."""
    where = address(patient.settings.redis_url)
    if not patient.info:
        yield ok("server", "in memory")
        return
    yield _version(patient, where)
    yield _eviction(patient)
    yield _persistence(patient)
    yield _memory(patient)


def _version(patient: Patient, where: str) -> Finding:
    info = patient.info
    valkey = str(info.get("valkey_version", ""))
    name, text = ("Valkey", valkey) if valkey else ("Redis", str(info.get("redis_version", "")))
    least = LEAST_VALKEY if valkey else LEAST_REDIS
    have = tuple(int(number) for number in re.findall(r"\d+", text)[:2])
    if have < least:
        wanted = ".".join(map(str, least))
        return fail(
            "server", f"{name} {text} at {where}", f"celeriac needs {name} {wanted} or later"
        )
    return ok("server", f"{name} {text} at {where}")


def _eviction(patient: Patient) -> Finding:
    policy = str(patient.info.get("maxmemory_policy", ""))
    if policy == "noeviction":
        return ok("eviction", "noeviction: a full server refuses, and deletes nothing")
    text = f"maxmemory-policy is {policy or 'unknown'}: a full server deletes events and rows"
    remedy = "set maxmemory-policy noeviction in redis.conf"
    limited = int(patient.info.get("maxmemory", 0)) > 0
    return (fail if limited else warn)("eviction", text, remedy)


def _persistence(patient: Patient) -> Finding:
    if int(patient.info.get("aof_enabled", 0)):
        status = patient.info.get("aof_last_write_status", "ok")
        if status != "ok":
            return fail("persistence", f"the last write of the AOF: {status}", "is the disk full?")
        return ok("persistence", "appendonly is on")
    text = "appendonly is off: a restart of the server loses events"
    return warn("persistence", text, "set appendonly yes, and appendfsync everysec")


def _memory(patient: Patient) -> Finding:
    used = int(patient.info.get("used_memory", 0))
    most = int(patient.info.get("maxmemory", 0))
    if not most:
        return ok("memory", f"{_size(used)} used, no maxmemory")
    text = f"{_size(used)} of {_size(most)} used ({used / most:.0%})"
    remedy = "let handlers catch up (celeriac lag), shorten CELERIAC_RETENTION, or raise maxmemory"
    if used > 0.9 * most:
        return fail("memory", text, remedy)
    return warn("memory", text, remedy) if used > 0.75 * most else ok("memory", text)


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
