"""A pipeline for many nodes, with the interface of redis-py's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.commands import CoreCommands

from celeriac.store.redis.cluster.command import key_of

if TYPE_CHECKING:
    from celeriac.store.redis.client import DirectClient
    from celeriac.store.redis.cluster.client import ClusterClient


class ClusterPipeline(CoreCommands):  # type: ignore[type-arg,unused-ignore]
    """Collects commands; `execute` returns their replies in order.

    See ClusterClient.execute_many.
    """

    _event_dispatcher: Any = None  # required by redis-py of a class with commands

    def __init__(self, client: ClusterClient, *, transaction: bool) -> None:
        self._client = client
        self._transaction = transaction
        self._commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def execute_command(self, *args: Any, **options: Any) -> ClusterPipeline:
        self._commands.append((args, options))
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute the commands in one round trip. Raises the first error, or returns errors too."""
        commands, self._commands = self._commands, []
        if not commands:
            return []
        if self._transaction:
            return self._execute_transaction(commands, raise_on_error)
        raw = self._client.execute_many([args for args, _ in commands])
        client = next(self._client.masters())
        answers = []
        for (args, options), answer in zip(commands, raw, strict=True):
            if isinstance(answer, Exception):
                if raise_on_error:
                    raise answer
                answers.append(answer)
            else:
                answers.append(parsed(client, answer, args, options))
        return answers

    def _execute_transaction(
        self, commands: list[tuple[tuple[Any, ...], dict[str, Any]]], raise_on_error: bool
    ) -> list[Any]:
        nodes = {self._client.node_of(key_of(args)) for args, _ in commands}
        if len(nodes) > 1:
            raise ValueError("a transaction of a Redis Cluster must use one slot")
        pipeline = self._client.node(nodes.pop()).pipeline(transaction=True)
        for args, options in commands:
            pipeline.execute_command(*args, **options)
        answers: list[Any] = pipeline.execute(raise_on_error=raise_on_error)
        return answers

    def __len__(self) -> int:
        return len(self._commands)

    def __enter__(self) -> ClusterPipeline:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._commands = []


def parsed(client: DirectClient, answer: Any, args: Sequence[Any], options: dict[str, Any]) -> Any:
    """Return a raw reply as redis-py's own client would return it."""
    known = {name: value for name, value in options.items() if name != "keys"}  # of its cache
    callbacks: Any = client.response_callbacks  # it has no types
    parse = callbacks.get(args[0])
    return parse(answer, **known) if parse is not None else answer
