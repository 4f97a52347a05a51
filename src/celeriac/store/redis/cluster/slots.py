"""Which node serves a key: the reply of CLUSTER SLOTS, as a table. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.crc import key_slot

from celeriac.redis_url import Node


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Ranges of slots in order, each with its master; a slot may be in none."""

    firsts: tuple[int, ...] = ()
    lasts: tuple[int, ...] = ()
    nodes: tuple[Node, ...] = ()

    @classmethod
    def parse(cls, answer: Sequence[Any], source: Node) -> SlotMap:
        """Parse the reply to CLUSTER SLOTS of the node `source`; a node without a name is it."""
        ranges = []
        for first, last, master, *_replicas in answer:
            host, port = master[0], int(master[1])
            name = host.decode() if isinstance(host, bytes) else host or ""
            ranges.append((int(first), int(last), (name or source[0], port)))
        ranges.sort()
        firsts, lasts, nodes = zip(*ranges, strict=True) if ranges else ((), (), ())
        return cls(firsts, lasts, nodes)

    def node_of(self, key: str | bytes) -> Node | None:
        """Return the master that serves the key; None if no node does."""
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        at = bisect_right(self.firsts, slot) - 1
        return self.nodes[at] if at >= 0 and slot <= self.lasts[at] else None

    @property
    def masters(self) -> tuple[Node, ...]:
        """Every node that serves slots, without duplicates."""
        return tuple(dict.fromkeys(self.nodes))
