"""One client for each event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from celeriac.store.redis.loop_client import LoopClients
from tests.unit.test_fork import in_child


class Client:
    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1


def opened() -> tuple[LoopClients, list[Any]]:
    clients: list[Any] = []

    def open_client() -> Any:
        clients.append(Client())
        return clients[-1]

    return LoopClients(open_client), clients


async def use(loops: LoopClients) -> Any:
    assert loops.client() is loops.client()
    return loops.client()


def test_a_loop_that_ends_closes_its_client() -> None:
    loops, clients = opened()
    for _ in range(3):
        asyncio.run(use(loops))
    assert [1, 1, 1] == [client.closed for client in clients]


def test_a_loop_that_was_closed_abruptly_is_forgotten_by_the_next() -> None:
    loops, clients = opened()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use(loops))
    loop.close()
    asyncio.run(use(loops))
    assert 2 == len(clients)
    assert {} == loops._of_loop


def test_a_client_that_was_closed_is_opened_again() -> None:
    loops, clients = opened()

    async def close_twice_and_use() -> None:
        await use(loops)
        await loops.close()
        await loops.close()
        await use(loops)

    asyncio.run(close_twice_and_use())
    assert [1, 1] == [client.closed for client in clients]


def test_the_child_of_a_fork_opens_a_client_of_its_own() -> None:
    loops, clients = opened()

    async def fork_with_a_client() -> bool:
        await use(loops)
        return in_child(lambda: loops._of_loop == {} and clients[0].closed == 0)

    assert asyncio.run(fork_with_a_client())
    assert [1] == [client.closed for client in clients]
