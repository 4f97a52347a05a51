"""The keys that a script names, of a domain and a handler.

A script uses only the keys that it is given. Redis Cluster checks the keys of a call before the
script runs, and Dragonfly, kvrocks and ElastiCache Serverless lock or refuse by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from celeriac.store.redis.keys import FLOW_TYPES, Keys

# The name of a key in scripts → the key.
OF_DOMAIN: Mapping[str, Callable[[Keys, str], str]] = {
    "stream": Keys.events,
    "wakeup": Keys.wakeup,
    "delayed": Keys.delayed,
    "delayed_events": Keys.delayed_events,
    "schedules": Keys.schedules,
    "clocks": Keys.clock,
    "emitted": Keys.emitted,
    "ids": lambda keys, domain: keys.ids(domain)[0],
    "older_ids": lambda keys, domain: keys.ids(domain)[1],
    "ambiguous": Keys.ambiguous,
    "invalid": lambda keys, domain: keys.no_events(domain)[0],
    "older_invalid": lambda keys, domain: keys.no_events(domain)[1],
    "dead": Keys.dead,
    "dead_groups": Keys.dead_groups,
    "dead_newest": Keys.dead_newest,
    "audit_log": Keys.audit,
    "sources": Keys.sources,
}
OF_HANDLER: Mapping[str, Callable[[Keys, str, str], str]] = {
    "scheduled": Keys.scheduled,
    "stats": Keys.stats,
    "patterns": Keys.patterns,
    "lost_runs": Keys.lost_runs,
    "chunks": Keys.chunks,
    "runs": Keys.runs,
    "rows": lambda keys, *group: keys.matrix(*group)[0],
    "older_rows": lambda keys, *group: keys.matrix(*group)[1],
    "verified": lambda keys, *group: keys.verified(*group)[0],
    "older_verified": lambda keys, *group: keys.verified(*group)[1],
    "failures": lambda keys, *group: keys.failures(*group)[0],
    "older_failures": lambda keys, *group: keys.failures(*group)[1],
    "emitted_events": lambda keys, *group: keys.emitted_events(*group)[0],
    "older_emitted_events": lambda keys, *group: keys.emitted_events(*group)[1],
    "counters": Keys.counters,
    "archive_replay": Keys.archive_replay,
    **{name: lambda keys, *group, name=name: keys.flow_key(name, *group) for name in FLOW_TYPES},
}
# The script selects one of them by the server's clock: see _minute.lua. They are last.
OF_MINUTE: Mapping[str, int] = {"last_minute": -1, "this_minute": 0, "next_minute": 1}
NAMES = frozenset({*OF_DOMAIN, *OF_HANDLER, *OF_MINUTE})


@lru_cache(maxsize=10_000)  # a call takes 1 µs instead of 10
def script_keys(
    keys: Keys, names: tuple[str, ...], domain: str, handler: str = ""
) -> tuple[str, ...]:
    """Return the keys with these names in scripts, in this order. Raises KeyError for others."""
    return tuple(
        OF_DOMAIN[name](keys, domain)
        if name in OF_DOMAIN
        else OF_HANDLER[name](keys, domain, handler)
        for name in names
    )


def minute_keys(keys: Keys, domain: str, handler: str, now_ms: int) -> tuple[str, ...]:
    """Return the counters of the minutes of OF_MINUTE, by an estimate of the server's clock."""
    minute = now_ms // 60_000
    return tuple(keys.counters(domain, handler, minute + offset) for offset in OF_MINUTE.values())
