"""A pipeline for many nodes."""

from __future__ import annotations

from typing import Any

from celeriac.store.redis.client import Pipeline
from celeriac.store.redis.cluster.command import key_of


class ClusterPipeline(Pipeline):
    """A Pipeline of a ClusterClient. See ClusterClient.execute_many for unreachable nodes."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        if self._transaction:
            nodes = {self._client.node_of(key_of(args)) for args, _ in self._commands}
            if len(nodes) > 1:
                raise ValueError("a transaction of a Redis Cluster must use one slot")
        return super().execute(raise_on_error)
