"""Check whether the server keeps the data that it stores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok, warn

Info = Mapping[str, Any]  # the reply of INFO

LEAST_REDIS, LEAST_VALKEY = (7, 0), (7, 2)


def check_server(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check version, eviction, persistence and memory of each node, and its replicas."""
    if not snapshot.servers:
        yield ok("server", "in memory")
    for where, info in snapshot.servers.items():
        yield _version(info, where)
        yield _eviction(info)
        yield _persistence(info)
        yield _memory(info)
        if int(info.get("cluster_enabled", 0)):
            yield _replicas(info)


def _replicas(info: Info) -> Finding:
    replicas = int(info.get("connected_slaves", 0))
    if replicas:
        return ok("replicas", f"{replicas}; one takes over if this node fails")
    text = "none: if this node fails, its domains stop until it is back"
    return warn("replicas", text, "give each node of the cluster a replica")


def _version(info: Info, where: str) -> Finding:
    valkey = str(info.get("valkey_version", ""))
    name, text = ("Valkey", valkey) if valkey else ("Redis", str(info.get("redis_version", "")))
    least = LEAST_VALKEY if valkey else LEAST_REDIS
    have = tuple(int(number) for number in re.findall(r"\d+", text)[:2])
    if have < least:
        wanted = ".".join(map(str, least))
        return fail("server", f"{name} {text} at {where}", f"upgrade to {name} {wanted} or later")
    return ok("server", f"{name} {text} at {where}")


def _eviction(info: Info) -> Finding:
    policy = str(info.get("maxmemory_policy", ""))
    if policy == "noeviction":
        return ok("eviction", "noeviction: a full server refuses writes and deletes nothing")
    text = f"maxmemory-policy is {policy or 'unknown'}: a full server deletes events and state"
    remedy = "set maxmemory-policy noeviction in redis.conf"
    if evicted := int(info.get("evicted_keys", 0)):
        text += f"; {evicted:,} keys were evicted since its start"
    limited = int(info.get("maxmemory", 0)) > 0
    return (fail if limited else warn)("eviction", text, remedy)


def _persistence(info: Info) -> Finding:
    if int(info.get("aof_enabled", 0)):
        status = info.get("aof_last_write_status", "ok")
        if status != "ok":
            return fail(
                "persistence",
                f"the last write of the AOF: {status}",
                "check the disk of the server",
            )
        return ok("persistence", "appendonly is on")
    text = "appendonly is off: events are lost if the server restarts"
    return warn("persistence", text, "set appendonly yes and appendfsync everysec")


def _memory(info: Info) -> Finding:
    used = int(info.get("used_memory", 0))
    maximum = int(info.get("maxmemory", 0))
    if not maximum:
        return ok("memory", f"{_size(used)} used, no maxmemory")
    text = f"{_size(used)} of {_size(maximum)} used ({used / maximum:.0%})"
    remedy = "reduce the backlog (celeriac lag), shorten CELERIAC_RETENTION, or raise maxmemory"
    if used > 0.9 * maximum:
        return fail("memory", text, remedy)
    return warn("memory", text, remedy) if used > 0.75 * maximum else ok("memory", text)


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
