"""The names of all keys in Redis. Keys of one domain share their hash tag, and so their slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Keys of the flow control per ordering key: their name in the scripts → their type.
FLOW_TYPES: Mapping[str, str] = {
    "keyed": "hash",
    "blocked": "zset",
    "slots": "hash",
    "ready": "zset",
    "throttled": "zset",
    "arrivals": "zset",
    "turns": "zset",
    "quiet_until": "zset",
    "quiet_since": "zset",
    "debounced": "zset",
}


@dataclass(frozen=True, slots=True)
class Keys:
    namespace: str = "celeriac"

    @property
    def domains(self) -> str:
        """Set: every domain that has a log."""
        return f"{self.namespace}:domains"

    @property
    def handlers(self) -> str:
        """Hash: handler id → its record, or `removed` if an operator removed the handler: its
        workers then stop running it."""
        return f"{self.namespace}:handlers"

    def rate(self, handler: str) -> str:
        """String: the state of a handler's rate limit."""
        return f"{self.namespace}:{{rate:{handler}}}:tat"

    @property
    def circuits(self) -> str:
        """Hash: handler id → its circuit as JSON, if it is not closed."""
        return f"{self.namespace}:{{circuits}}:states"

    def calls(self, handler: str) -> str:
        """Hash: calls and failures within the window of the handler's circuit breaker."""
        return f"{self.namespace}:{{circuits}}:counts:{handler}"

    @property
    def workers(self) -> str:
        """Hash: worker name → its record with the time of its last heartbeat."""
        return f"{self.namespace}:workers"

    @property
    def scale_targets(self) -> str:
        """Hash: `service` or `service:queue` → what its autoscaler asked last."""
        return f"{self.namespace}:scale_targets"

    @property
    def contracts(self) -> str:
        """Hash: `contract:type:version` → that version as it was first declared;
        `reader:handler:digest` → what workers with that code read."""
        return f"{self.namespace}:contracts"

    @property
    def config(self) -> str:
        """Hash: name of a setting of the bus → its value."""
        return f"{self.namespace}:config"

    @property
    def tenants(self) -> str:
        """Hash: what is counted of a tenant → count, for tenants in `CELERIAC_METRICS_TENANTS`."""
        return f"{self.namespace}:tenants"

    @property
    def forgotten(self) -> str:
        """Sorted set: domains that were removed because they were empty, by the time in ms."""
        return f"{self.namespace}:forgotten"

    def replies(self, mailbox: str) -> str:
        """Stream: the replies to a request that a process waits for."""
        return f"{self.namespace}:{{reply:{mailbox}}}:replies"

    @property
    def request_counts(self) -> str:
        """Hash: type of request and outcome or bucket → count."""
        return f"{self.namespace}:{{requests}}:counts"

    @property
    def pending_requests(self) -> str:
        """Sorted set: mailbox and type of requests under way, by the time in ms of their expiry."""
        return f"{self.namespace}:{{requests}}:pending"

    @property
    def relayed(self) -> str:
        """String: written by a relay to wait for the server's disk (WAITAOF)."""
        return f"{self.namespace}:relayed"

    def base(self, domain: str) -> str:
        """The prefix of every key of the domain."""
        return f"{self.namespace}:{{{domain}}}:"

    def events(self, domain: str) -> str:
        """Stream: the event log. Each entry has one field, a CloudEvent as JSON: see EntryKind."""
        return f"{self.namespace}:{{{domain}}}:events"

    def ids(self, domain: str) -> tuple[str, str]:
        """Hashes: event key → the entry of an event whose id was given, or whose append was
        retried; the current generation and the one before it."""
        return _generations(f"{self.namespace}:{{{domain}}}:ids")

    def ambiguous(self, domain: str) -> str:
        """String: intervals of time, in ms, of entries that may repeat an event."""
        return f"{self.namespace}:{{{domain}}}:ambiguous"

    def delayed(self, domain: str) -> str:
        """Sorted set: tokens of delayed events by their time in ms: see event_log/delayed.py."""
        return f"{self.namespace}:{{{domain}}}:delayed"

    def delayed_events(self, domain: str) -> str:
        """Hash: token of a delayed event → the event."""
        return f"{self.namespace}:{{{domain}}}:delayed_events"

    def schedules(self, domain: str) -> str:
        """Hash: `service:name` of a schedule → its next and its last tick, and its definition."""
        return f"{self.namespace}:{{{domain}}}:schedules"

    def clock(self, domain: str) -> str:
        """Hash: handler, or '' for delayed events → the server's time in ms at the last check, the
        last step back of its clock in ms, and when it was detected."""
        return f"{self.namespace}:{{{domain}}}:clock"

    def emitted(self, domain: str) -> str:
        """Hash: event type → how many were emitted."""
        return f"{self.namespace}:{{{domain}}}:emitted"

    def dead(self, domain: str) -> str:
        """Stream: dead letters."""
        return f"{self.namespace}:{{{domain}}}:dead"

    def dead_groups(self, domain: str) -> str:
        """Hash: handler and type of error → how many dead letters."""
        return f"{self.namespace}:{{{domain}}}:dead_groups"

    def dead_newest(self, domain: str) -> str:
        """Hash: handler and type of error → the id of the newest dead letter."""
        return f"{self.namespace}:{{{domain}}}:dead_newest"

    def sources(self, domain: str) -> str:
        """Sorted set: sources of events of the domain by the time in ms at which they were seen."""
        return f"{self.namespace}:{{{domain}}}:sources"

    def audit(self, domain: str) -> str:
        """Stream: actions of operators on deliveries of the domain, with who took them."""
        return f"{self.namespace}:{{{domain}}}:audit"

    def no_events(self, domain: str) -> tuple[str, str]:
        """Hashes: entries that are not events → the handler that wrote a dead letter for each; both
        generations."""
        return _generations(f"{self.base(domain)}invalid")

    def wakeup(self, domain: str) -> str:
        """Stream of one entry: wakes dispatchers when an entry becomes due at once."""
        return f"{self.namespace}:{{{domain}}}:wakeup"

    def scheduled(self, domain: str, handler: str) -> str:
        """Sorted set: pending entries that wait for their time in ms."""
        return f"{self.base(domain)}scheduled:{handler}"

    def matrix(self, domain: str, handler: str) -> tuple[str, str]:
        """Hashes: event key → row; the current generation and the one before it."""
        return _generations(f"{self.base(domain)}matrix:{handler}")

    def verified(self, domain: str, handler: str) -> tuple[str, str]:
        """Hashes: event key → the entry of an event whose signature was verified for the handler;
        both generations."""
        return _generations(f"{self.base(domain)}verified:{handler}")

    def failures(self, domain: str, handler: str) -> tuple[str, str]:
        """Hashes: event key → its failed attempts, one JSON object a line; both generations."""
        return _generations(f"{self.base(domain)}failures:{handler}")

    def emitted_events(self, domain: str, handler: str) -> tuple[str, str]:
        """Hashes: event key → the events that the handler emitted while it handled the event,
        `type key` a line; both generations."""
        return _generations(f"{self.base(domain)}emitted_events:{handler}")

    def counters(self, domain: str, handler: str, minute: int | None = None) -> str:
        """Hash: event type and outcome or bucket → count; in total, or of one minute."""
        key = f"{self.base(domain)}counters:{handler}"
        return key if minute is None else f"{key}:{minute}"

    def chunks(self, domain: str, handler: str) -> str:
        """Hash: id of an open chunk → its interval, owner and lease."""
        return f"{self.base(domain)}chunks:{handler}"

    def runs(self, domain: str, handler: str) -> str:
        """Sorted set: run records of completed chunks, by the time of their last entry in ms."""
        return f"{self.base(domain)}runs:{handler}"

    def patterns(self, domain: str, handler: str) -> str:
        """String: the patterns in force for the handler, of all versions of its code."""
        return f"{self.base(domain)}patterns:{handler}"

    def stats(self, domain: str, handler: str) -> str:
        """Hash: outcome → count, and the run time."""
        return f"{self.base(domain)}stats:{handler}"

    def lost_runs(self, domain: str, handler: str) -> str:
        """Hash: pending entry → the number of its runs whose lease expired."""
        return f"{self.base(domain)}lost:{handler}"

    def archive_replay(self, domain: str, handler: str) -> str:
        """Hash: the last replay from an archive, and how far it is."""
        return f"{self.base(domain)}archive_replay:{handler}"

    def flow_key(self, name: str, domain: str, handler: str) -> str:
        """One of FLOW_TYPES: see lua/_keyed.lua."""
        return f"{self.base(domain)}{name}:{handler}"

    def of_flow(self, domain: str, handler: str) -> tuple[str, ...]:
        """All keys of FLOW_TYPES."""
        return tuple(self.flow_key(name, domain, handler) for name in FLOW_TYPES)

    def shared_types(self) -> dict[str, str]:
        """The keys that all services share, each with its type in Redis."""
        return {
            self.domains: "set",
            self.handlers: "hash",
            self.workers: "hash",
            self.scale_targets: "hash",
            self.config: "hash",
            self.contracts: "hash",
            self.tenants: "hash",
            self.forgotten: "zset",
            self.circuits: "hash",
            self.request_counts: "hash",
            self.pending_requests: "zset",
        }

    def types(self, domain: str, *handlers: str) -> dict[str, str]:
        """The keys of a domain and of its handlers, each with its type in Redis."""
        types = {
            self.events(domain): "stream",
            **dict.fromkeys(self.ids(domain), "hash"),
            self.ambiguous(domain): "string",
            self.delayed(domain): "zset",
            self.delayed_events(domain): "hash",
            self.schedules(domain): "hash",
            self.clock(domain): "hash",
            self.emitted(domain): "hash",
            self.dead(domain): "stream",
            self.dead_groups(domain): "hash",
            self.dead_newest(domain): "hash",
            self.audit(domain): "stream",
            self.sources(domain): "zset",
            self.wakeup(domain): "stream",
        }
        for handler in handlers:
            types[self.scheduled(domain, handler)] = "zset"
            types[self.chunks(domain, handler)] = "hash"
            types[self.runs(domain, handler)] = "zset"
            types[self.counters(domain, handler)] = "hash"
            types[self.patterns(domain, handler)] = "string"
            types[self.stats(domain, handler)] = "hash"
            types[self.lost_runs(domain, handler)] = "hash"
            types[self.archive_replay(domain, handler)] = "hash"
            flow_keys = self.of_flow(domain, handler)
            types |= dict(zip(flow_keys, FLOW_TYPES.values(), strict=True))
            for kind in (self.matrix, self.verified, self.failures, self.emitted_events):
                types |= dict.fromkeys(kind(domain, handler), "hash")
        return types


def _generations(key: str) -> tuple[str, str]:
    # The name does not contain the window, so that processes with different windows share the key.
    return key, f"{key}:older"
