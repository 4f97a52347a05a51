"""A blocking client of a Redis Cluster, with the face of DirectClient that celeriac uses.

Not redis.cluster.RedisCluster: that asks the server for the key of each script in a pipeline (a
round trip each), tries ten times by itself beyond any limit of ours, and connects when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import redis
from redis.commands import CoreCommands
from redis.exceptions import AskError, ClusterDownError

from celeriac.redis_url import ClusterURL, Node
from celeriac.store.redis.client import DirectClient
from celeriac.store.redis.cluster.command import ANYWHERE, EVERYWHERE, is_script, key_of, name_of
from celeriac.store.redis.cluster.pipeline import ClusterPipeline, parsed
from celeriac.store.redis.cluster.slots import SlotMap
from celeriac.store.redis.cluster.topology import REDIRECTIONS, Topology, redirected, settled


class ClusterClient(CoreCommands):  # type: ignore[type-arg,unused-ignore]
    """Thread-safe and fork-safe as the clients of its nodes are. Does not connect yet.

    A command goes to the master that serves its key; what names no key goes to any node, or to
    all of them where it changes them (SCRIPT LOAD). MOVED and ASK are followed. A node that is
    away raises redis.ConnectionError, and the map is fetched anew before the next command.
    """

    _event_dispatcher: Any = None  # which redis-py wants of whoever has commands

    def __init__(self, url: ClusterURL, open_node: Callable[[str], DirectClient]) -> None:
        self.topology = Topology(url)
        self._open_node = open_node
        self._nodes: dict[Node, DirectClient] = {}

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command, one round trip where the map is right. Raises redis.RedisError."""
        name = name_of(args)
        if name in EVERYWHERE:
            return self._everywhere(args, options)
        chosen = next(self.masters()) if name in ANYWHERE else self.node(self.node_of(key_of(args)))
        try:
            return chosen.execute_command(*args, **options)
        except AskError as error:
            return parsed(chosen, self._follow(error, args), args, options)
        except redis.RedisError as error:
            self.topology.doubt(error)
            raise

    def begin_many(self, commands: Sequence[Sequence[Any]]) -> Callable[[], list[Any]]:
        """As that of DirectClient, but that it waits: a slot may have moved."""
        answers = self.execute_many(commands)
        return lambda: answers

    def execute_many(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """The raw answers of all, in one round trip: each node is sent its own before any is read.

        A refused command's answer is its ResponseError, that of a node that is away its
        ConnectionError; it is raised where no other node answered. The commands of one node are
        carried out in their order.
        """
        commands = list(commands)
        of_node: dict[Node, list[int]] = {}
        for at, command in enumerate(commands):
            of_node.setdefault(self.node_of(key_of(command)), []).append(at)
        answers: list[Any] = [None] * len(commands)
        reading = [
            (chosen, self._tried(self.node(node).begin_many, [commands[at] for at in chosen]))
            for node, chosen in of_node.items()
        ]
        away = 0
        for chosen, read in reading:
            found = self._tried(read) if callable(read) else read
            away += isinstance(found, Exception)
            for at, answer in zip(chosen, _each(found, len(chosen)), strict=True):
                answers[at] = answer
        if away and away == len(reading):
            raise answers[0]
        for at, answer in enumerate(answers):
            if isinstance(answer, AskError):
                answers[at] = self._tried(self._follow, answer, commands[at])
        return answers

    def transact_many(
        self, transactions: Sequence[Sequence[Sequence[Any]]]
    ) -> list[list[Any] | Exception]:
        """As that of DirectClient; each transaction is of one slot.

        One whose slot moved is sent once more, to where it is now.
        """
        answers: list[list[Any] | Exception] = [[] for _ in transactions]
        again = list(range(len(transactions)))
        for _ in range(REDIRECTIONS):
            of_node: dict[Node, list[int]] = {}
            for at in again:
                of_node.setdefault(self.node_of(key_of(transactions[at][0])), []).append(at)
            again = []
            for node, chosen in of_node.items():
                client = self.node(node)
                found = self._tried(client.transact_many, [transactions[at] for at in chosen])
                for at, answer in zip(chosen, _each(found, len(chosen)), strict=True):
                    answers[at] = answer
                    if isinstance(answer, AskError):  # MOVED is one of these
                        self.topology.doubt(answer)
                        again.append(at)
            if not again:
                break
        return answers

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        """Commands for any nodes in one round trip; a transaction is of one slot."""
        return ClusterPipeline(self, transaction=transaction)

    def scan_iter(self, *args: Any, **options: Any) -> Iterator[Any]:
        """Keys of all nodes."""
        for node in self.masters():
            yield from node.scan_iter(*args, **options)

    def masters(self) -> Iterator[DirectClient]:
        """A client of each master."""
        self._refresh()
        for node in self.topology.map.masters:
            yield self.node(node)

    def node_of(self, key: str | bytes) -> Node:
        """The master that serves the key, as the newest map says."""
        self._refresh()
        return self.topology.node_of(key)

    def node(self, node: Node) -> DirectClient:
        """The client of one node."""
        client = self._nodes.get(node)
        if client is None:
            client = self._nodes.setdefault(node, self._open_node(self.topology.url.of(node)))
        return client

    def close(self) -> None:
        for client in list(self._nodes.values()):
            client.close()

    def _follow(self, error: AskError, args: Sequence[Any]) -> Any:
        """The raw answer of the node that the command was sent on to."""
        script = is_script(args)
        for _ in range(REDIRECTIONS):
            self.topology.doubt(error)
            node = redirected(error, script=script)
            if node is None:
                raise settled(error, script=script) from error
            asking = [("ASKING",)] if type(error) is AskError else []
            answer = self.node(node).execute_many([*asking, args])[-1]
            if isinstance(answer, AskError):
                error = answer
            elif isinstance(answer, Exception):
                raise answer
            else:
                return answer
        raise ClusterDownError(f"CLUSTERDOWN sent on {REDIRECTIONS} times")

    def _tried(self, call: Callable[..., Any], *args: Any) -> Any:
        """What it returns, or the redis.RedisError that it raises."""
        try:
            return call(*args)
        except redis.RedisError as error:
            self.topology.doubt(error)
            return error

    def _everywhere(self, args: Any, options: Any) -> Any:
        """One node's answer; a node that is away is passed over, if another did it."""
        answers = [
            self._tried(lambda c: c.execute_command(*args, **options), c) for c in self.masters()
        ]
        done = [answer for answer in answers if not isinstance(answer, Exception)]
        if not done:
            raise answers[0]
        return done[0]

    def _refresh(self) -> None:
        if not self.topology.stale:
            return
        failure: Exception | None = None
        for node in list(self.topology.candidates()):
            try:
                answer = self.node(node).execute_command("CLUSTER SLOTS")
            except redis.ResponseError as error:
                raise redis.ResponseError(f"{node[0]}:{node[1]} is no cluster: {error}") from error
            except redis.RedisError as error:
                failure = error
                continue
            self.topology.learn(SlotMap.parse(answer, node))
            return
        raise redis.ConnectionError(f"no node of the cluster answers: {failure}") from failure


def _each(found: Any, count: int) -> list[Any]:
    """A node's answers; its failure is the answer of all its commands."""
    answers: list[Any] = [found] * count if isinstance(found, Exception) else found
    return answers
