"""The event log on a Redis Cluster: commands that are packed for one server are routed here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from celeriac.event_log.event_log import EntryKind, Item
from celeriac.event_log.registered import is_registered
from celeriac.store.redis.connection import Client
from celeriac.store.redis.event_log import RedisEventLog
from celeriac.store.redis.packing import refuse_first


class RedisClusterEventLog(RedisEventLog):
    """Implements EventLog.

    `append_many` sends each node its events at once. If a node is unreachable, later events on
    other nodes may be appended, and appended again at the next try: the same id is one event.
    """

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        if is_registered(kind, since_ms):
            return self._append_once(domain, body, kind, since_ms)
        key = self.keys.events(domain)
        entry: bytes = self.client.execute_command("XADD", key, "*", kind.value, body)
        return entry.decode()

    def _append_portion(self, items: Sequence[Item]) -> None:
        commands = self._packing.commands(items, self.bus.current.dedup_window)
        answers = self.client.execute_many([words for words, _ in commands])
        refuse_first(answers, [count for _, count in commands])

    def _servers(self) -> Iterable[tuple[str, Client]]:
        for node in self.client.masters():
            at = node.connection_pool.connection_kwargs
            yield f"{at['host']}:{at['port']}", node
