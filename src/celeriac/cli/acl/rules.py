"""What a service may do in Redis, as the rules of a user (Redis ≥ 7: selectors). Pure.

A user's own rules give the commands of plain values on keys that are the service's alone, or are
shared by all. What may be done with a stream that several services share stands in selectors: read
and acknowledge where the service subscribes, add where it emits. Redis checks each command that a
script calls, so the scripts need no more than that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from celeriac.keys import Keys

CONNECTION = (
    "ping", "echo", "hello", "auth", "quit", "select", "time", "client|setname", "client|setinfo",
    "multi", "exec", "discard", "watch", "unwatch", "eval", "evalsha", "script|load",
    "script|exists", "cluster|shards", "cluster|slots", "cluster|nodes", "asking", "readonly",
    "role", "info",
)  # fmt: skip
VALUES = ("@string", "@hash", "@set", "@sortedset", "@list", "exists", "del", "unlink", "type",
          "expire", "pexpire", "ttl", "pttl")  # fmt: skip
BROADCAST = ("publish", "subscribe", "psubscribe", "unsubscribe", "punsubscribe")
# What kombu keeps beside the queues (kombu/transport/redis.py).
KOMBU = ("_kombu.*", "unacked", "unacked_index", "unacked_mutex", "*.celery.pidbox*",
         "celeryev.*")  # fmt: skip
# What a worker listens to, by PSUBSCRIBE, which Redis allows for these very patterns only. The
# number is that of the database of the broker.
LISTENED = ("/*", *(f"/{db}.{name}" for db in range(16) for name in
            ("celery.pidbox", "celeryev/worker.*")))  # fmt: skip
# A queue with priorities has a list for each, two control characters and a digit after its name.
PRIORITIES = "[^!-~][^!-~][0-9]"
ANY_DOMAIN = "*"

READ = (
    "xread", "xreadgroup", "xack", "xclaim", "xpending", "xrange", "xrevrange", "xlen", "xtrim",
    "xinfo|groups", "xinfo|consumers", "xinfo|stream", "xgroup|create", "xgroup|delconsumer",
    "xgroup|setid", "exists",
)  # fmt: skip
LOOK = ("xrange", "xrevrange", "xlen", "xinfo|groups", "xpending", "exists")
AHEAD = ("zrange", "zrangebyscore", "zcard")
BURY = ("xadd", "xrange", "xlen", "xdel", "exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A service's part of the bus. `reads` and `emits` are domains; `*` in `reads` is all."""

    service: str
    reads: Collection[str] = ()
    emits: Collection[str] = ()
    queues: Collection[str] = ()
    promotes: bool = False


def rules(part: Part, keys: Keys, *, queue_prefix: str = "") -> list[str]:
    """The rules of the user but for its name and password."""
    reads, emits = sorted(set(part.reads)), sorted(set(part.emits))
    moves = sorted({*emits, *(reads if part.promotes else ())})
    own = [
        keys.domains, keys.handlers, keys.removed, keys.workers,
        f"{keys.circuits}states", f"{keys.circuits}", f"{keys.circuits}counts:{part.service}.*",
        *(keys.rate(f"{part.service}.*") + end for end in ("", "tat")),
        *(key for domain in reads for key in _of_handlers(keys, domain, part.service)),
        *(keys.base(domain) + name for domain in reads
          for name in ("dead_groups", "dead_newest", "invalid:*")),
        *(keys.base(domain) for domain in {*reads, *emits}),
        *(keys.emitted(domain) for domain in emits),
        *(keys.delayed(domain) for domain in moves),
        *(f"{queue_prefix}{name}" for name in _queues(part)),
    ]  # fmt: skip
    scan = ["scan"] if ANY_DOMAIN in reads else []
    prefixes = (queue_prefix, "")
    channels = dict.fromkeys(f"&{prefix}{name}" for prefix in prefixes for name in LISTENED)
    found = ["resetkeys", *_keys(own), *channels, "nocommands"]
    found += _commands((*CONNECTION, *VALUES, *BROADCAST, *scan))
    if reads:
        streams = [keys.events(d) for d in reads] + [keys.bell(d) for d in reads]
        found.append(_selector(streams, READ))
        found.append(_selector([keys.dead(domain) for domain in reads], BURY))
        found.append(_selector([keys.delayed(domain) for domain in reads], AHEAD))
    if reads or emits:
        found.append(_selector([keys.bell(d) for d in sorted({*reads, *emits})], ("xadd",)))
    if emits:
        found.append(_selector([keys.events(domain) for domain in emits], LOOK))
    if moves:
        found.append(_selector([keys.events(domain) for domain in moves], ("xadd",)))
    return found


def operator_rules(keys: Keys) -> list[str]:
    """Those of people: the command line and Flower. All of the bus, nothing of the server."""
    found = ["resetkeys", f"~{keys.namespace}:*", *(f"~{name}" for name in KOMBU), "&*"]
    return [
        *found,
        "+@all",
        "-@dangerous",
        "-@admin",
        *_commands(("info", "config|get", "sort_ro")),
    ]


def _of_handlers(keys: Keys, domain: str, service: str) -> Iterable[str]:
    handler = f"{service}.*"
    base = keys.base(domain)
    for kind in ("due", "matrix", "failures", "effects", "tally", "patterns", "stats", "lane"):
        yield f"{base}{kind}:{handler}"
    yield f"{base}lanes:{handler}"


def _queues(part: Part) -> Iterable[str]:
    for queue in sorted({part.service, *part.queues}):
        yield queue
        yield f"{queue}{PRIORITIES}"
    yield from KOMBU


def _keys(names: Iterable[str]) -> list[str]:
    return [f"~{name}" for name in dict.fromkeys(names)]


def _commands(names: Iterable[str]) -> list[str]:
    return [f"+{name}" for name in dict.fromkeys(names)]


def _selector(names: Iterable[str], commands: Iterable[str]) -> str:
    return f"({' '.join([*_keys(names), *_commands(commands)])})"
