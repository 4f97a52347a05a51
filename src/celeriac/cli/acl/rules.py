"""Redis ACL rules of a service (Redis ≥ 7: selectors).

A user's own rules grant the commands for plain values on keys that only the service uses, or that
all services share. Access to a stream that several services share is granted in selectors: read and
acknowledge where the service subscribes, append where it emits. Redis checks each command that a
script calls, so the scripts need no more than that.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from celeriac.errors import ConfigurationError
from celeriac.event.attributes import domain_fault
from celeriac.store.redis.keys import FLOW_TYPES, Keys

# By category: a server refuses a rule with an unknown name, and Redis 7.0 does not have CLIENT
# SETINFO, which redis-py sends.
CONNECTION = (
    "+@connection", "-@dangerous", "+time", "+multi", "+exec", "+discard", "+watch", "+unwatch",
    "+eval", "+evalsha", "+script|load", "+script|exists", "+cluster|shards", "+cluster|slots",
    "+cluster|nodes", "+role", "+info",
)  # fmt: skip
VALUES = ("@string", "@hash", "@set", "@sortedset", "@list", "exists", "del", "unlink", "type",
          "expire", "pexpire", "pexpireat", "rename", "ttl", "pttl")  # fmt: skip
# Called by a script, which counts them and does not list them.
ANNOUNCE = ("sadd", "scard", "sismember", "eval", "evalsha")
BROADCAST = ("publish", "subscribe", "psubscribe", "unsubscribe", "punsubscribe")
# Keys that kombu keeps in addition to the queues (kombu.transport.redis). Its `unacked` keys are
# excluded: they hold the messages of every app on the server.
KOMBU = ("_kombu.*", "*.celery.pidbox*", "celeryev.*")
# Channels that a worker subscribes to by PSUBSCRIBE, which Redis allows for exactly these patterns
# only. The number is that of the broker's database.
LISTENED = ("/*", *(f"/{db}.{name}" for db in range(16) for name in
            ("celery.pidbox", "celeryev/worker.*")))  # fmt: skip
# A queue with priorities has a list for each, named with two control characters and a digit.
PRIORITIES = "[^!-~][^!-~][0-9]"
ANY_DOMAIN = "*"

READ = (
    "xread", "xreadgroup", "xack", "xclaim", "xpending", "xrange", "xrevrange", "xlen", "xtrim",
    "xinfo|groups", "xinfo|consumers", "xinfo|stream", "xgroup|create", "xgroup|delconsumer",
    "xgroup|setid", "exists", "type",
)  # fmt: skip
MEASURE = ("xrange", "xrevrange", "xlen", "xinfo|groups", "exists")  # store/redis/lua/backlog.lua
# Of every handler: measuring counts deliveries in flight, and a trim deletes their run records.
IN_CHUNKS = ("hgetall", "hvals", "type")
AHEAD = ("zrange", "zrangebyscore", "zcard", "type")
MOVE = (*AHEAD, "zadd", "zrem")
POSTPONED = ("hmget", "type")
REQUEST = ("xadd", "xread", "xrange", "exists", "pexpire", "unlink")  # store/redis/replies.py
COUNT_REQUEST = ("hlen", "hexists", "hincrby", "hgetall", "zadd", "zrem", "zrangebyscore", "type")
COUNT = ("hlen", "hexists", "hincrby")
SCRIPT = ("eval", "evalsha")
REGISTER = ("hmget", "hset", "rename", "unlink", "pexpireat")  # store/redis/lua/_ids.lua
DEAD_LETTER = ("xadd", "xrange", "xlen", "xdel", "exists", "type")
NAME = re.compile(r"[\w.-]+")
PREFIX = re.compile(r"[\w.:-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccess:
    """The access of a service to the bus. `reads` and `emits` are domains; `*` in `reads` is all.

    `pulls` are the services whose handlers a gateway serves: it has no handlers and no queues of
    its own. `acks` are the keys of kombu's emulation of acknowledgements, if the app has its own.
    `bounded` is true if emitting measures the backlog (setting `max_backlog`).
    """

    service: str
    reads: Collection[str] = ()
    emits: Collection[str] = ()
    queues: Collection[str] = ()
    pulls: Collection[str] = ()
    acks: Collection[str] = ()
    enqueues_due: bool = False
    bounded: bool = False

    @property
    def owners(self) -> Collection[str]:
        """The services whose handlers it runs."""
        return sorted({*self.pulls}) or [self.service]


def rules(part: ServiceAccess, keys: Keys, *, queue_prefix: str = "") -> list[str]:
    """Return the rules of the user, without its name and password.

    Raises ConfigurationError if a name cannot be used in a rule. A service that reads nothing has
    no worker: it may only emit.
    """
    check_names(part, keys, queue_prefix)
    reads, emits = sorted(set(part.reads)), sorted(set(part.emits))
    granted = ["resetkeys"]
    if reads:
        granted += _keys(_worker_keys(part, keys, reads, queue_prefix))
        if not part.pulls:
            prefixes = (queue_prefix, "")
            granted += dict.fromkeys(f"&{prefix}{name}" for prefix in prefixes for name in LISTENED)
    granted += ["nocommands", *CONNECTION]
    if reads:
        channels = () if part.pulls else BROADCAST
        granted += _commands((*VALUES, *channels, *(["scan"] if ANY_DOMAIN in reads else [])))
        granted += _shared(keys)
        # A client removes its handler through a gateway.
        read = (*READ, "xgroup|destroy") if part.pulls else READ
        granted.append(_selector([f(d) for f in (keys.events, keys.wakeup) for d in reads], read))
        granted.append(_selector([keys.dead(domain) for domain in reads], DEAD_LETTER))
        granted.append(_selector([keys.delayed(domain) for domain in reads], AHEAD, "%R~"))
        granted.append(
            _selector([keys.delayed_events(domain) for domain in reads], POSTPONED, "%R~")
        )
        granted.append(_selector([keys.chunks(domain, "*") for domain in reads], IN_CHUNKS, "%R~"))
        granted.append(
            _selector([keys.runs(domain, "*") for domain in reads], ("zremrangebyscore",))
        )
        granted.append(_selector(_declared(part, keys, reads), SCRIPT))
        ids = [key for domain in reads for key in keys.ids(domain)]
        granted.append(_selector(ids, (*REGISTER, "hget", "type")))
        granted.append(_selector([keys.ambiguous(domain) for domain in reads], ("get",), "%R~"))
    granted += _emitting(part, keys, reads, emits)
    # A mailbox has a name that only those know who may read the request.
    granted.append(_selector([keys.replies("*")], (*REQUEST, *SCRIPT)))
    counts = [keys.request_counts, keys.pending_requests]
    granted.append(_selector(counts, (*COUNT_REQUEST, *SCRIPT)))
    return granted


def _emitting(
    part: ServiceAccess, keys: Keys, reads: Collection[str], emits: Collection[str]
) -> Iterable[str]:
    """Return the rules for appending; a service without a worker cannot read what it appended."""
    moves = sorted({*emits, *(reads if part.enqueues_due else ())}) if reads else []
    if emits and not reads:
        yield _selector([keys.domains], ANNOUNCE)
        yield _selector([keys.config], ("hgetall",), "%R~")
        yield _selector([keys.tenants], ("hincrby", "type"))
    if reads or emits:
        yield _selector([keys.wakeup(d) for d in sorted({*reads, *emits})], ("xadd",), "%W~")
    if emits:
        yield _selector([keys.emitted(domain) for domain in emits], COUNT)
    for domain in sorted({*emits, *moves}):
        registry = (*keys.ids(domain), keys.ambiguous(domain))
        yield _selector(keys.ids(domain), REGISTER)
        yield _selector([keys.ambiguous(domain)], ("get", "set"))
        # A script needs access to every key that it declares. Here it gets only what the other
        # rules grant.
        given = [keys.events(domain), *registry, keys.wakeup(domain)]
        given += [keys.delayed(domain), keys.delayed_events(domain)]
        given += [keys.emitted(domain)] if domain in emits else []
        given += [keys.clock(domain)] if domain in moves else []
        given += [keys.schedules(domain)] if reads and domain in emits else []
        given += [keys.chunks(domain, "*")] if domain in emits and part.bounded else []
        yield _selector(given, SCRIPT)
    if emits and not reads:
        yield _selector([keys.events(domain) for domain in emits], ("xadd",), "%W~")
        yield _selector([keys.delayed(domain) for domain in emits], ("zadd", "zrem"), "%W~")
        events = [keys.delayed_events(domain) for domain in emits]
        yield _selector(events, ("hset", "hdel"), "%W~")
    if moves:
        yield _selector([keys.events(domain) for domain in moves], ("xadd",), "%W~")
        yield _selector([keys.delayed(domain) for domain in moves], MOVE)
        events = [keys.delayed_events(domain) for domain in moves]
        yield _selector(events, (*POSTPONED, "hset", "hdel"))
    if emits and reads:
        yield _selector([keys.schedules(domain) for domain in emits], ("hget", "hset"))
    if others := sorted(set(moves) - set(reads)):
        yield _selector([keys.clock(domain) for domain in others], ("hget", "hset"))
    if emits and part.bounded:
        yield _selector([keys.events(domain) for domain in emits], MEASURE, "%R~")
        yield _selector([keys.chunks(domain, "*") for domain in emits], IN_CHUNKS, "%R~")
        yield _selector([keys.delayed(domain) for domain in emits], ("zcard",), "%R~")


def _worker_keys(
    part: ServiceAccess, keys: Keys, reads: Collection[str], queue_prefix: str
) -> Iterable[str]:
    """Return the keys with plain values that a worker of the service writes."""
    for owner in part.owners:
        yield from (keys.calls(f"{owner}.*"), keys.rate(f"{owner}.*"))
    for domain in reads:
        for owner in part.owners:
            yield from _of_handlers(keys, domain, owner)
        for owner in part.pulls:  # a client removes its handler, and so what an operator wrote
            yield keys.archive_replay(domain, f"{owner}.*")
        yield from (keys.dead_groups(domain), keys.dead_newest(domain), *keys.no_events(domain))
        yield from (keys.clock(domain), keys.sources(domain))
    for name in () if part.pulls else _queues(part):
        yield f"{queue_prefix}{name}"


def _declared(part: ServiceAccess, keys: Keys, reads: Collection[str]) -> Iterable[str]:
    """Return the keys that a worker's scripts declare. A trim declares those of all handlers."""
    yield keys.circuits
    for owner in part.owners:
        yield keys.calls(f"{owner}.*")
    for domain in reads:
        yield from (keys.events(domain), keys.wakeup(domain))
        yield from (keys.delayed(domain), keys.delayed_events(domain))
        yield from (keys.clock(domain), *keys.ids(domain), keys.ambiguous(domain))
        yield from (keys.dead(domain), keys.dead_groups(domain), keys.dead_newest(domain))
        yield from keys.no_events(domain)
        yield from (keys.chunks(domain, "*"), keys.runs(domain, "*"))
        for owner in part.owners:
            yield from _of_handlers(keys, domain, owner)


def _shared(keys: Keys) -> Iterable[str]:
    """Return the rules for hashes and sets of all services.

    Redis ACLs have no rules for single fields. A worker can change the fields of other services,
    but it cannot delete a whole key.
    """
    yield _selector([keys.domains], (*ANNOUNCE, "smembers", "type"))
    yield _selector([keys.forgotten], ("zrange", "type"), "%R~")
    # HSETNX, not HSET: a worker writes a missing setting of the bus, and changes none.
    yield _selector([keys.config], ("hgetall", "hsetnx", "type"))
    yield _selector([keys.tenants], ("hgetall", "hincrby", "type"))
    yield _selector([keys.contracts], ("hgetall", "hmget", "hset", "hsetnx", "hdel", "type"))
    yield _selector([keys.handlers], ("hget", "hgetall", "hmget", "hset", "type", *SCRIPT))
    # A gateway notes what autoscalers ask, and metrics show it.
    hashes = [keys.workers, keys.circuits, keys.scale_targets]
    yield _selector(hashes, ("hget", "hgetall", "hset", "hdel", "type"))


def check_names(part: ServiceAccess, keys: Keys, queue_prefix: str = "") -> None:
    """Raise ConfigurationError if a name would be more than a name in a rule."""
    given = {
        "service": [part.service, *part.pulls],
        "namespace": [keys.namespace],
        "queue": part.queues,
    }
    given |= {"unacked key": part.acks}
    for kind, names in given.items():
        for name in names:
            check_name(kind, name)
    for domain in {*part.reads, *part.emits} - {ANY_DOMAIN}:
        if fault := domain_fault(domain):
            raise ConfigurationError(f"domain {domain!r} {fault}. {_REMEDY}")
    if ANY_DOMAIN in part.emits:
        raise ConfigurationError(
            "--emits is invalid: *. Name the domains, for example order,payment."
        )
    if part.pulls and not part.reads:
        raise ConfigurationError(
            "--reads is missing: the handlers of --pulls get no events without it. Name the "
            "domains, for example order,payment, or * for all."
        )
    if not PREFIX.fullmatch(queue_prefix):
        raise ConfigurationError(
            f"global_keyprefix is not usable in an ACL rule: {queue_prefix!r}. {_REMEDY}"
        )


_REMEDY = "Rename it with letters, digits and _ . - only."


def check_name(kind: str, name: str) -> None:
    """Raise ConfigurationError for a name with blanks, wildcards or other syntax of rules."""
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"{kind} is not usable in an ACL rule: {name!r}. {_REMEDY}")


def operator_rules(keys: Keys) -> list[str]:
    """Return the rules for people: full access to the bus, none to the server's administration."""
    check_name("namespace", keys.namespace)
    granted = ["resetkeys", f"~{keys.namespace}:*", *(f"~{name}" for name in KOMBU), "&*"]
    return [
        *granted,
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
        "counters",
        "patterns",
        "stats",
    )
    for kind in (*kinds, *FLOW_TYPES, "lost", "chunks", "runs"):
        yield f"{base}{kind}:{handler}"


def _queues(part: ServiceAccess) -> Iterable[str]:
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
