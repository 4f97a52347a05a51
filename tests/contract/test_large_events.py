"""Large events: on the plain path no body passes through a script of the server."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celeriac.delivery import Group
from celeriac.delivery.chunk_store import ChunkRequest, new_chunk_id
from celeriac.event import new_event_id
from celeriac.event_log import EntryKind
from celeriac.settings import Settings
from celeriac.store.redis.async_event_log import async_redis_event_log
from celeriac.store.redis.connection import open_client
from tests.contract.store import DOMAIN, RedisStore
from tests.contract.test_chunks import completion
from tests.contract.test_registered import event

MARK = "pomegranate"
LARGE = MARK * 9_000  # 99 kB
END = "end of the test"
# What gives a script the bodies of entries.
READING = re.compile(r"xrange|xrevrange|xread|xreadgroup|xclaim|xautoclaim", re.IGNORECASE)


@contextmanager
def monitored(store: RedisStore, redis_url: str) -> Iterator[list[tuple[bool, str, int]]]:
    """Of each command while it lasts: whether a script called it, its name, how often the mark is
    in it."""
    seen: list[tuple[bool, str, int]] = []
    began = threading.Event()

    def watch() -> None:
        with open_client(redis_url, answer_within=30).monitor() as monitor:
            began.set()
            for one in monitor.listen():
                command = str(one["command"])
                if END in command:
                    return
                name = command.partition(" ")[0]
                seen.append((one["client_type"] == "lua", name.lower(), command.count(MARK)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    assert began.wait(10)
    yield seen
    store.client.echo(END)
    watcher.join(30)
    assert not watcher.is_alive()


def test_no_body_passes_through_a_script(redis_url: str, namespace: str) -> None:
    settings = Settings.load({}, redis_url=redis_url, namespace=namespace)
    store: Any = RedisStore(settings)
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    # Redis does not know how many entries a group has read before its first fetch: that one counts
    # what it was given, 16 entries at most.
    store.event_log.append(DOMAIN, event(new_event_id()), EntryKind.MADE)
    [before] = store.chunks.fetch("w1", [ChunkRequest(group, "before", 1, running=True)])
    assert store.chunks.complete("w1", group, "before", completion(before.entries))
    bodies = [event(new_event_id(), data=LARGE) for _ in range(6)]

    async def aemit() -> None:
        event_log = async_redis_event_log(settings)
        await event_log.append(DOMAIN, bodies[3], EntryKind.MADE)
        await event_log.append_many([(DOMAIN, body, EntryKind.MADE, 0) for body in bodies[4:]])
        await event_log.close()

    with monitored(store, redis_url) as seen:
        store.event_log.append(DOMAIN, bodies[0], EntryKind.MADE)
        store.event_log.append_many([(DOMAIN, body, EntryKind.MADE, 0) for body in bodies[1:3]])
        asyncio.run(aemit())
        [first] = store.chunks.fetch("w1", [ChunkRequest(group, "first", 3)])
        entries = store.chunks.begin("w1", group, "first")
        assert bodies[:3] == [entry.body for entry in entries]
        following = ChunkRequest(group, new_chunk_id(), 3, running=True)
        done = completion(first.entries)
        held, second = store.chunks.complete_and_fetch("w1", group, "first", done, following)
        assert held and bodies[3:] == [entry.body for entry in second.entries]
        last = completion(second.entries)
        assert store.chunks.complete("w1", group, following.chunk, last)
    carrying = [(is_script, name) for is_script, name, marks in seen if marks]
    assert [(False, "xadd")] * 6 == carrying
    assert not [name for is_script, name, _ in seen if is_script and READING.fullmatch(name)]
