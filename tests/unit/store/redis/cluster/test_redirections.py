"""Where commands go that a node redirects, with the replies of nodes that do not exist."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import redis
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ResponseError,
    TryAgainError,
)

from celeriac.delivery.pending_reply import ReceivedReply
from celeriac.redis_url import ClusterURL
from celeriac.store.redis.cluster.async_client import AsyncClusterClient
from celeriac.store.redis.cluster.client import ClusterClient
from celeriac.store.redis.cluster.topology import REDIRECTIONS

MOVED, ASK = MovedError("1 b:2"), AskError("1 b:2")
AWAY, OTHER = redis.ConnectionError("away"), ResponseError("ERR other")
GET, SCRIPT = ("GET", "k"), ("EVALSHA", "digest", 1, "k")


class Node:
    """Replies with the given answers, one for each command but ASKING."""

    def __init__(self, name: str, nodes: Nodes) -> None:
        self.name, self.nodes = name, nodes

    def reply(self, words: Sequence[Any]) -> Any:
        if words[0] == "CLUSTER SLOTS":
            return self.nodes.slots()
        self.nodes.sent.append((self.name, *words))
        return b"OK" if words[0] == "ASKING" else next(self.nodes.answers[self.name])

    def execute_command(self, *args: Any, **options: Any) -> Any:
        answer = self.reply(args)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def execute_many(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        return [self.reply(words) for words in commands]

    def begin_many(self, commands: Sequence[Sequence[Any]]) -> ReceivedReply[list[Any]]:
        answers = self.execute_many(commands)
        if AWAY in answers:
            raise AWAY
        return ReceivedReply(answers)

    def transact_many(self, transactions: Sequence[Sequence[Sequence[Any]]]) -> list[Any]:
        return self.execute_many([words for [words] in transactions])

    def parsed(self, answer: Any, args: Any, options: Any) -> Any:
        return answer


class AsyncNode(Node):
    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return super().execute_command(*args)

    def pipeline(self, *, transaction: bool) -> Pipeline:
        assert not transaction
        return Pipeline(self)


class Pipeline:
    def __init__(self, node: Node) -> None:
        self.node, self.commands = node, list[Any]()

    def execute_command(self, *args: Any, **options: Any) -> None:
        self.commands.append(args)

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        answers = self.node.execute_many(self.commands)
        for answer in answers:
            if answer is AWAY or (raise_on_error and isinstance(answer, Exception)):
                raise answer
        return answers


class Nodes:
    """The nodes a and b. All slots are a's, and b's when the map is read again."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name: iter(of) for name, of in answers.items()}
        self.sent: list[Any] = []
        self.read = 0

    def slots(self) -> list[Any]:
        self.read += 1
        return [[0, 16383, [b"a", 1] if self.read == 1 else [b"b", 2]]]

    @property
    def client(self) -> ClusterClient:
        def open_node(url: str) -> Any:
            return Node(url.split("//")[1][0], self)

        return ClusterClient(ClusterURL.parse("redis+cluster://a:1"), open_node)

    @property
    def async_client(self) -> AsyncClusterClient:
        return AsyncClusterClient(
            ClusterURL.parse("redis+cluster://a:1"),
            lambda node: AsyncNode(node.split("//")[1][0], self),
        )


def run_one(nodes: Nodes, words: Sequence[Any]) -> Any:
    return nodes.client.execute_command(*words)


def run_among_others(nodes: Nodes, words: Sequence[Any]) -> Any:
    [answer] = nodes.client.execute_many([words])
    if isinstance(answer, Exception):
        raise answer
    return answer


def await_one(nodes: Nodes, words: Sequence[Any]) -> Any:
    return asyncio.run(nodes.async_client.execute_command(*words))


def await_pipeline(nodes: Nodes, words: Sequence[Any]) -> Any:
    [answer] = asyncio.run(nodes.async_client.pipeline().execute_command(*words).execute())
    return answer


WAYS = pytest.mark.parametrize("run", [run_one, run_among_others, await_one, await_pipeline])
Run = Callable[[Nodes, Sequence[Any]], Any]


@WAYS
@pytest.mark.parametrize("words", [GET, SCRIPT])
def test_a_moved_slot_is_followed(run: Run, words: Sequence[Any]) -> None:
    nodes = Nodes(a=[MOVED], b=[7])
    assert 7 == run(nodes, words)
    assert [("a", *words), ("b", *words)] == nodes.sent


@pytest.mark.parametrize("run", [run_one, run_among_others, await_one])
def test_a_key_that_moved_before_its_slot_is_asked_for(run: Run) -> None:
    nodes = Nodes(a=[ASK], b=[7])
    assert 7 == run(nodes, GET)
    assert [("a", *GET), ("b", "ASKING"), ("b", *GET)] == nodes.sent
    assert 1 == nodes.read


def test_a_pipeline_of_coroutines_asks_again_at_the_old_node() -> None:
    nodes = Nodes(a=[ASK, ASK], b=[7])
    assert 7 == await_pipeline(nodes, GET)
    assert [("a", *GET), ("a", *GET), ("b", "ASKING"), ("b", *GET)] == nodes.sent


@WAYS
def test_a_script_waits_until_its_slot_has_moved(run: Run) -> None:
    nodes = Nodes(a=[ASK])
    with pytest.raises(TryAgainError):
        run(nodes, SCRIPT)
    assert [("a", *SCRIPT)] == nodes.sent


@WAYS
def test_a_command_is_not_redirected_for_ever(run: Run) -> None:
    nodes = Nodes(a=[MOVED] * 2, b=[MOVED] * 100)
    with pytest.raises(ClusterDownError, match=f"redirected {REDIRECTIONS} times"):
        run(nodes, GET)
    assert REDIRECTIONS <= len(nodes.sent) <= REDIRECTIONS + 1


@WAYS
@pytest.mark.parametrize("error", [OTHER, AWAY])
def test_another_error_is_raised(run: Run, error: Exception) -> None:
    nodes = Nodes(a=[error])
    with pytest.raises(type(error), match=str(error)):
        run(nodes, GET)
    assert [("a", *GET)] == nodes.sent


@WAYS
@pytest.mark.parametrize("error", [OTHER, AWAY])
def test_an_error_of_the_other_node_is_raised(run: Run, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        run(Nodes(a=[MOVED], b=[error]), GET)


def test_transactions_of_a_moved_slot_are_sent_again() -> None:
    nodes = Nodes(a=[[b"OK"], MOVED, OTHER], b=[[7]])
    answers = nodes.client.transact_many([[("SET", "k", 1)], [GET], [("SET", "k", 2)]])
    assert [[b"OK"], [7], OTHER] == answers
    assert ["a", "a", "a", "b"] == [name for name, *_ in nodes.sent]
    assert [] == nodes.client.transact_many([])


def test_a_transaction_is_not_redirected_for_ever() -> None:
    nodes = Nodes(a=[MOVED], b=[MOVED] * 100)
    assert [MOVED] == nodes.client.transact_many([[GET]])
    assert REDIRECTIONS == len(nodes.sent)


@pytest.mark.parametrize("words", [("SCRIPT LOAD", "x"), ("flushall",)])
def test_a_command_for_all_nodes_needs_the_reply_of_one(words: Sequence[Any]) -> None:
    nodes = Nodes(a=[AWAY, b"OK", AWAY], b=[b"OK", AWAY, AWAY])
    nodes.slots = lambda: [[0, 9, [b"a", 1]], [10, 16383, [b"b", 2]]]  # type: ignore[method-assign]
    client = nodes.client
    assert [b"OK", b"OK"] == [client.execute_command(*words) for _ in range(2)]
    with pytest.raises(redis.ConnectionError):
        client.execute_command(*words)
    assert [("a", *words), ("b", *words)] * 3 == nodes.sent


def test_the_map_is_read_again_when_a_node_is_away() -> None:
    nodes = Nodes(a=[AWAY], b=[7])
    client = nodes.client
    with pytest.raises(redis.ConnectionError):
        client.execute_command(*GET)
    assert (7, 2) == (client.execute_command(*GET), nodes.read)
