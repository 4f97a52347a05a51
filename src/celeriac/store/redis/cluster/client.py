"""A blocking client of a Redis Cluster with the interface of DirectClient that celeriac uses.

redis.cluster.RedisCluster is not used: it asks the server for the key of each script in a pipeline
(a round trip each), retries ten times regardless of our limits, and connects when it is created.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis
from redis.commands import CoreCommands
from redis.exceptions import AskError, ClusterDownError

from celeriac.delivery.pending_reply import PendingReply, ReceivedReply
from celeriac.redis_url import ClusterURL, Node
from celeriac.store.redis.client import DirectClient
from celeriac.store.redis.cluster.command import ANYWHERE, EVERYWHERE, is_script, key_of, name_of
from celeriac.store.redis.cluster.pipeline import ClusterPipeline
from celeriac.store.redis.cluster.slots import SlotMap
from celeriac.store.redis.cluster.topology import REDIRECTIONS, Topology, as_transient, redirected


class ClusterClient(CoreCommands):  # type: ignore[type-arg,unused-ignore]
    """As thread-safe and fork-safe as the clients of its nodes. Does not connect yet.

    A command goes to the master that serves its key. A command without a key goes to any node, or
    to all nodes if it changes them (SCRIPT LOAD). MOVED and ASK are followed. An unreachable node
    raises redis.ConnectionError, and the slot map is read again before the next command.
    """

    _event_dispatcher: Any = None  # required by redis-py of a class with commands

    def __init__(self, url: ClusterURL, open_node: Callable[[str], DirectClient]) -> None:
        self.topology = Topology(url)
        self._open_node = open_node
        self._nodes: dict[Node, DirectClient] = {}

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command, in one round trip if the map is correct. Raises redis.RedisError."""
        name = name_of(args)
        if name in EVERYWHERE:
            return self._everywhere(args, options)
        chosen = next(self.masters()) if name in ANYWHERE else self.node(self.node_of(key_of(args)))
        try:
            return chosen.execute_command(*args, **options)
        except AskError as error:
            return chosen.parsed(self._follow(error, args), args, options)
        except redis.RedisError as error:
            self.topology.doubt(error)
            raise

    def begin_many(self, commands: Sequence[Sequence[Any]]) -> PendingReply[list[Any]]:
        """Same as in DirectClient, but blocks for the replies: a slot may have moved."""
        return ReceivedReply(self.execute_many(commands))

    def execute_many(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Return the raw replies, in one round trip: all nodes are sent commands before any reply.

        A refused command's reply is its ResponseError; for an unreachable node it is the
        ConnectionError, which is raised if no other node answered. Commands of one node are
        executed in order.
        """
        commands = list(commands)
        of_node: dict[Node, list[int]] = {}
        for at, command in enumerate(commands):
            of_node.setdefault(self.node_of(key_of(command)), []).append(at)
        answers: list[Any] = [None] * len(commands)
        reads = [
            (chosen, self._tried(self.node(node).begin_many, [commands[at] for at in chosen]))
            for node, chosen in of_node.items()
        ]
        away = 0
        for chosen, sent in reads:
            result = sent if isinstance(sent, Exception) else self._tried(sent.result)
            away += isinstance(result, Exception)
            for at, answer in zip(chosen, _each(result, len(chosen)), strict=True):
                answers[at] = answer
        if away and away == len(reads):
            raise answers[0]
        for at, answer in enumerate(answers):
            if isinstance(answer, AskError):
                answers[at] = self._tried(self._follow, answer, commands[at])
        return answers

    def transact_many(
        self, transactions: Sequence[Sequence[Sequence[Any]]]
    ) -> list[list[Any] | Exception]:
        """Same as in DirectClient; each transaction uses one slot.

        A transaction whose slot moved is sent again, to its new node.
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
                result = self._tried(client.transact_many, [transactions[at] for at in chosen])
                for at, answer in zip(chosen, _each(result, len(chosen)), strict=True):
                    answers[at] = answer
                    if isinstance(answer, AskError):  # MOVED is one of these
                        self.topology.doubt(answer)
                        again.append(at)
            if not again:
                break
        return answers

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        """Return a pipeline for any nodes, in one round trip; a transaction uses one slot."""
        return ClusterPipeline(self, transaction=transaction)

    def parsed(self, answer: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Return a raw reply as the methods of the command return it."""
        return next(self.masters()).parsed(answer, args, options)

    def scan_iter(self, *args: Any, **options: Any) -> Iterator[Any]:
        """Yield the keys of all nodes."""
        for node in self.masters():
            yield from node.scan_iter(*args, **options)

    def masters(self) -> Iterator[DirectClient]:
        """Yield a client of each master."""
        self._refresh()
        for node in self.topology.map.masters:
            yield self.node(node)

    def node_of(self, key: str | bytes) -> Node:
        """Return the master that serves the key, according to the newest map."""
        self._refresh()
        return self.topology.node_of(key)

    def node(self, node: Node) -> DirectClient:
        """Return the client of one node."""
        client = self._nodes.get(node)
        if client is None:
            client = self._nodes.setdefault(node, self._open_node(self.topology.url.of(node)))
        return client

    def close(self) -> None:
        for client in list(self._nodes.values()):
            client.close()

    def _follow(self, error: AskError, args: Sequence[Any]) -> Any:
        """Return the raw reply of the node to which the command was redirected."""
        script = is_script(args)
        for _ in range(REDIRECTIONS):
            self.topology.doubt(error)
            node = redirected(error, script=script)
            if node is None:
                raise as_transient(error, script=script) from error
            asking = [("ASKING",)] if type(error) is AskError else []
            answer = self.node(node).execute_many([*asking, args])[-1]
            if isinstance(answer, AskError):
                error = answer
            elif isinstance(answer, Exception):
                raise answer
            else:
                return answer
        raise ClusterDownError(f"CLUSTERDOWN redirected {REDIRECTIONS} times")

    def _tried(self, call: Callable[..., Any], *args: Any) -> Any:
        """Return what the call returns, or the redis.RedisError that it raises."""
        try:
            return call(*args)
        except redis.RedisError as error:
            self.topology.doubt(error)
            return error

    def _everywhere(self, args: Any, options: Any) -> Any:
        """Return one node's reply. An unreachable node is ignored if another one answered."""
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
                raise redis.ResponseError(
                    f"{node[0]}:{node[1]} is not a Redis Cluster: {error}"
                ) from error
            except redis.RedisError as error:
                failure = error
                continue
            self.topology.learn(SlotMap.parse(answer, node))
            return
        raise redis.ConnectionError(f"no node of the cluster answers: {failure}") from failure


def _each(result: Any, count: int) -> list[Any]:
    """Return a node's replies; a failure is the reply of all its commands."""
    answers: list[Any] = [result] * count if isinstance(result, Exception) else result
    return answers
