"""What a service may do in Redis, as the rules of a user (Redis ≥ 7: selectors). Pure.

A user's own rules give the commands of plain values on keys that are the service's alone, or are
shared by all. What may be done with a stream that several services share stands in selectors: read
and acknowledge where the service subscribes, add where it emits. Redis checks each command that a
script calls, so the scripts need no more than that.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from celeriac.errors import ConfigurationError
from celeriac.event.attributes import domain_fault
from celeriac.store.redis.keys import FLOW_TYPES, Keys

# By category: a server refuses a rule with a name that it does not know, and Redis 7.0 does not
# know CLIENT SETINFO, which redis-py sends.
CONNECTION = (
    "+@connection", "-@dangerous", "+time", "+multi", "+exec", "+discard", "+watch", "+unwatch",
    "+eval", "+evalsha", "+script|load", "+script|exists", "+cluster|shards", "+cluster|slots",
    "+cluster|nodes", "+role", "+info",
)  # fmt: skip
VALUES = ("@string", "@hash", "@set", "@sortedset", "@list", "exists", "del", "unlink", "type",
          "expire", "pexpire", "pexpireat", "rename", "ttl", "pttl")  # fmt: skip
# By a script, which counts them. It does not list them.
ANNOUNCE = ("sadd", "scard", "sismember", "eval", "evalsha")
BROADCAST = ("publish", "subscribe", "psubscribe", "unsubscribe", "punsubscribe")
# What kombu keeps beside the queues (kombu/transport/redis.py). Not its `unacked` keys: they hold
# the messages of every app on the server.
KOMBU = ("_kombu.*", "*.celery.pidbox*", "celeryev.*")
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
    "xgroup|setid", "exists", "type",
)  # fmt: skip
MEASURE = ("xrange", "xrevrange", "xlen", "xinfo|groups", "exists")  # see log/lua/backlog.lua
# Of every handler: what is in flight is not finished, and a trim forgets how trimmed entries ran.
IN_CHUNKS = ("hgetall", "hvals", "type")
AHEAD = ("zrange", "zrangebyscore", "zcard", "type")
MOVE = (*AHEAD, "zadd", "zrem")
COUNT = ("hlen", "hexists", "hincrby")
SCRIPT = ("eval", "evalsha")
REGISTER = ("hmget", "hset", "rename", "unlink", "pexpireat")  # see log/lua/_ids.lua
BURY = ("xadd", "xrange", "xlen", "xdel", "exists", "type")
NAME = re.compile(r"[\w.-]+")
PREFIX = re.compile(r"[\w.:-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A service's part of the bus. `reads` and `emits` are domains; `*` in `reads` is all.

    `acks` are the keys of kombu's emulation of acknowledgements, where the app keeps some of its
    own. `bounded` says that emitting measures the backlog (setting `max_backlog`).
    """

    service: str
    reads: Collection[str] = ()
    emits: Collection[str] = ()
    queues: Collection[str] = ()
    acks: Collection[str] = ()
    promotes: bool = False
    bounded: bool = False


def rules(part: Part, keys: Keys, *, queue_prefix: str = "") -> list[str]:
    """The rules of the user but for its name and password.

    Raises ConfigurationError for a name that cannot stand in a rule. A service that reads nothing
    has no worker: it may emit, and no more.
    """
    check_names(part, keys, queue_prefix)
    reads, emits = sorted(set(part.reads)), sorted(set(part.emits))
    found = ["resetkeys"]
    if reads:
        found += _keys(_own(part, keys, reads, queue_prefix))
        prefixes = (queue_prefix, "")
        found += dict.fromkeys(f"&{prefix}{name}" for prefix in prefixes for name in LISTENED)
    found += ["nocommands", *CONNECTION]
    if reads:
        found += _commands((*VALUES, *BROADCAST, *(["scan"] if ANY_DOMAIN in reads else [])))
        found += _shared(keys)
        found.append(_selector([f(d) for f in (keys.events, keys.wakeup) for d in reads], READ))
        found.append(_selector([keys.dead(domain) for domain in reads], BURY))
        found.append(_selector([keys.delayed(domain) for domain in reads], AHEAD, "%R~"))
        found.append(_selector([keys.chunks(domain, "*") for domain in reads], IN_CHUNKS, "%R~"))
        found.append(_selector([keys.runs(domain, "*") for domain in reads], ("zremrangebyscore",)))
        found.append(_selector(_declared(part, keys, reads), SCRIPT))
        ids = [key for domain in reads for key in keys.ids(domain)]
        found.append(_selector(ids, (*REGISTER, "hget", "type")))
        found.append(_selector([keys.ambiguous(domain) for domain in reads], ("get",), "%R~"))
    found += _emitting(part, keys, reads, emits)
    return found


def _emitting(
    part: Part, keys: Keys, reads: Collection[str], emits: Collection[str]
) -> Iterable[str]:
    """To add, and where the service has no worker not to read what was added."""
    moves = sorted({*emits, *(reads if part.promotes else ())}) if reads else []
    if emits and not reads:
        yield _selector([keys.domains], ANNOUNCE)
        yield _selector([keys.config], ("hgetall",), "%R~")
    if reads or emits:
        yield _selector([keys.wakeup(d) for d in sorted({*reads, *emits})], ("xadd",), "%W~")
    if emits:
        yield _selector([keys.emitted(domain) for domain in emits], COUNT)
    for domain in sorted({*emits, *moves}):
        registry = (*keys.ids(domain), keys.ambiguous(domain))
        yield _selector(keys.ids(domain), REGISTER)
        yield _selector([keys.ambiguous(domain)], ("get", "set"))
        # A script needs every key that it is given, whatever it does with it: here it may do no
        # more than what the other rules allow.
        given = [keys.events(domain), *registry, keys.delayed(domain), keys.wakeup(domain)]
        given += [keys.emitted(domain)] if domain in emits else []
        given += [keys.clock(domain)] if domain in moves else []
        given += [keys.chunks(domain, "*")] if domain in emits and part.bounded else []
        yield _selector(given, SCRIPT)
    if emits and not reads:
        yield _selector([keys.events(domain) for domain in emits], ("xadd",), "%W~")
        yield _selector([keys.delayed(domain) for domain in emits], ("zadd",), "%W~")
    if moves:
        yield _selector([keys.events(domain) for domain in moves], ("xadd",), "%W~")
        yield _selector([keys.delayed(domain) for domain in moves], MOVE)
    if others := sorted(set(moves) - set(reads)):
        yield _selector([keys.clock(domain) for domain in others], ("hget", "hset"))
    if emits and part.bounded:
        yield _selector([keys.events(domain) for domain in emits], MEASURE, "%R~")
        yield _selector([keys.chunks(domain, "*") for domain in emits], IN_CHUNKS, "%R~")
        yield _selector([keys.delayed(domain) for domain in emits], ("zcard",), "%R~")


def _own(part: Part, keys: Keys, reads: Collection[str], queue_prefix: str) -> Iterable[str]:
    """Keys with plain values that a worker of the service writes."""
    yield from (keys.calls(f"{part.service}.*"), keys.rate(f"{part.service}.*"))
    for domain in reads:
        yield from _of_handlers(keys, domain, part.service)
        yield from (keys.dead_groups(domain), keys.dead_newest(domain), *keys.no_events(domain))
        yield from (keys.clock(domain), keys.sources(domain))
    for name in _queues(part):
        yield f"{queue_prefix}{name}"


def _declared(part: Part, keys: Keys, reads: Collection[str]) -> Iterable[str]:
    """The keys that the scripts of a worker are given. A trim is given those of all handlers."""
    yield from (keys.circuits, keys.calls(f"{part.service}.*"))
    for domain in reads:
        yield from (keys.events(domain), keys.wakeup(domain), keys.delayed(domain))
        yield from (keys.clock(domain), *keys.ids(domain), keys.ambiguous(domain))
        yield from (keys.dead(domain), keys.dead_groups(domain), keys.dead_newest(domain))
        yield from keys.no_events(domain)
        yield from (keys.chunks(domain, "*"), keys.runs(domain, "*"))
        yield from _of_handlers(keys, domain, part.service)


def _shared(keys: Keys) -> Iterable[str]:
    """Hashes and sets of all services. Redis cannot tell their fields apart, so a worker may change
    those of others; it cannot delete a whole key."""
    yield _selector([keys.domains], (*ANNOUNCE, "smembers", "type"))
    yield _selector([keys.forgotten], ("zrange", "type"), "%R~")
    # HSETNX and not HSET: a worker writes a setting of the bus that is missing, and changes none.
    yield _selector([keys.config], ("hgetall", "hsetnx", "type"))
    yield _selector([keys.contracts], ("hgetall", "hmget", "hset", "hsetnx", "hdel", "type"))
    yield _selector([keys.handlers], ("hget", "hgetall", "hmget", "hset", "type", *SCRIPT))
    hashes = [keys.workers, keys.circuits]
    yield _selector(hashes, ("hget", "hgetall", "hset", "hdel", "type"))


def check_names(part: Part, keys: Keys, queue_prefix: str = "") -> None:
    """Raises ConfigurationError for a name that would be more than a name in a rule."""
    given = {"service": [part.service], "namespace": [keys.namespace], "queue": part.queues}
    given |= {"unacked key": part.acks}
    for kind, names in given.items():
        for name in names:
            check_name(kind, name)
    for domain in {*part.reads, *part.emits} - {ANY_DOMAIN}:
        if fault := domain_fault(domain):
            raise ConfigurationError(f"domain {domain!r} {fault}. {_REMEDY}")
    if ANY_DOMAIN in part.emits:
        raise ConfigurationError("emits * cannot be granted: Name the domains, like order,payment.")
    if not PREFIX.fullmatch(queue_prefix):
        raise ConfigurationError(f"global_keyprefix {queue_prefix!r} is no name. {_REMEDY}")


_REMEDY = "Rename it: an ACL rule takes letters, digits and _ . - only."


def check_name(kind: str, name: str) -> None:
    """Raises ConfigurationError for a name with blanks, wildcards or other syntax of rules."""
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"{kind} {name!r} cannot stand in an ACL rule. {_REMEDY}")


def operator_rules(keys: Keys) -> list[str]:
    """Those of people: the command line and Flower. All of the bus, nothing of the server."""
    check_name("namespace", keys.namespace)
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
    kinds = (
        "scheduled",
        "matrix",
        "verified",
        "failures",
        "emitted_events",
        "tally",
        "patterns",
        "stats",
    )
    for kind in (*kinds, *FLOW_TYPES, "lost", "chunks", "runs"):
        yield f"{base}{kind}:{handler}"


def _queues(part: Part) -> Iterable[str]:
    for queue in sorted({part.service, *part.queues}):
        yield queue
        yield f"{queue}{PRIORITIES}"
    yield from part.acks
    yield from KOMBU


def _keys(names: Iterable[str], permission: str = "~") -> list[str]:
    return [f"{permission}{name}" for name in dict.fromkeys(names)]


def _commands(names: Iterable[str]) -> list[str]:
    return [f"+{name}" for name in dict.fromkeys(names)]


def _selector(names: Iterable[str], commands: Iterable[str], permission: str = "~") -> str:
    return f"({' '.join([*_keys(names, permission), *_commands(commands)])})"
