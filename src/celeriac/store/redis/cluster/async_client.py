"""An asyncio client of a Redis Cluster: what `aemit` needs, without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import redis
from redis.commands import AsyncCoreCommands
from redis.exceptions import AskError, ClusterDownError

from celeriac.redis_url import ClusterURL, Node
from celeriac.store.redis.cluster.command import is_script, key_of
from celeriac.store.redis.cluster.slots import SlotMap
from celeriac.store.redis.cluster.topology import REDIRECTIONS, Topology, as_transient, redirected


class AsyncClusterClient(AsyncCoreCommands):  # type: ignore[type-arg,unused-ignore]
    """A ClusterClient for commands that name a key. Belongs to one event loop."""

    _event_dispatcher: Any = None  # required by redis-py of a class with commands

    def __init__(self, url: ClusterURL, open_node: Callable[[str], Any]) -> None:
        self.topology = Topology(url)
        self._open_node = open_node
        self._nodes: dict[Node, Any] = {}

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        await self.refresh()
        node, script, asking = self.topology.node_of(key_of(args)), is_script(args), False
        for _ in range(REDIRECTIONS):
            try:
                pipeline = self.node(node).pipeline(transaction=False)
                if asking:
                    pipeline.execute_command("ASKING")
                pipeline.execute_command(*args, **options)
                return (await pipeline.execute())[-1]
            except redis.RedisError as error:
                self.topology.doubt(error)
                sent_on = redirected(error, script=script)
                if sent_on is None:
                    raise as_transient(error, script=script) from error
                node, asking = sent_on, type(error) is AskError
        raise ClusterDownError(f"CLUSTERDOWN redirected {REDIRECTIONS} times")

    def pipeline(self, transaction: bool = False) -> AsyncClusterPipeline:
        """Return a pipeline for commands on any nodes, without a transaction."""
        if transaction:
            raise ValueError("a transaction of a Redis Cluster must use one slot")
        return AsyncClusterPipeline(self)

    def node(self, node: Node) -> Any:
        """Return the client of one node."""
        if node not in self._nodes:
            self._nodes[node] = self._open_node(self.topology.url.of(node))
        return self._nodes[node]

    async def refresh(self) -> None:
        """Read the slot map if it is stale. Raises redis.ConnectionError if no node returns it."""
        if not self.topology.stale:
            return
        failure: Exception | None = None
        for node in list(self.topology.candidates()):
            try:
                answer = await self.node(node).execute_command("CLUSTER SLOTS")
            except redis.ResponseError as error:
                raise redis.ResponseError(
                    f"{node[0]}:{node[1]} is not a Redis Cluster: {error}"
                ) from error
            except redis.RedisError as error:
                failure = error
                continue
            self.topology.learn(SlotMap.parse(answer, node))
            return
        raise redis.ConnectionError(f"no node of the cluster answers: {failure}") from failure

    async def aclose(self) -> None:
        for client in self._nodes.values():
            await client.aclose()


class AsyncClusterPipeline(AsyncCoreCommands):  # type: ignore[type-arg,unused-ignore]
    """Collects commands; `execute` sends each node its commands, all at once."""

    _event_dispatcher: Any = None  # required by redis-py of a class with commands

    def __init__(self, client: AsyncClusterClient) -> None:
        self._client = client
        self._commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self._commands.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Return the replies in the order of the commands; see ClusterPipeline."""
        commands, self._commands = self._commands, []
        await self._client.refresh()
        of_node: dict[Node, list[int]] = {}
        for at, (args, _) in enumerate(commands):
            of_node.setdefault(self._client.topology.node_of(key_of(args)), []).append(at)
        answers: list[Any] = [None] * len(commands)

        async def run(node: Node, chosen: list[int]) -> None:
            pipeline = self._client.node(node).pipeline(transaction=False)
            for at in chosen:
                args, options = commands[at]
                pipeline.execute_command(*args, **options)
            try:
                replies = await pipeline.execute(raise_on_error=False)
            except redis.RedisError as error:
                replies = [error] * len(chosen)
            for at, answer in zip(chosen, replies, strict=True):
                answers[at] = answer

        await asyncio.gather(*(run(node, chosen) for node, chosen in of_node.items()))
        for at, (args, options) in enumerate(commands):
            if isinstance(answers[at], Exception):
                answers[at] = await self._again(answers[at], args, options)
                if raise_on_error and isinstance(answers[at], Exception):
                    raise answers[at]
        return answers

    async def _again(self, error: Exception, args: Any, options: Any) -> Any:
        self._client.topology.doubt(error)
        script = is_script(args)
        if redirected(error, script=script) is None:
            return as_transient(error, script=script)
        try:
            return await self._client.execute_command(*args, **options)
        except redis.RedisError as failure:
            return failure
