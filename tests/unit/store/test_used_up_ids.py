"""A stream whose ids are used up is recovered by the script of its how-to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac.testing.server import start_server

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "recover-used-up-ids.md"
STREAM, FREE = "celeriac:{order}:events", "celeriac:{order}:recovered"
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with start_server(tmp_path_factory.mktemp("ids"), appendonly=False) as server:
        yield redis.Redis.from_url(server.url, decode_responses=True)


def groups(client: Any) -> dict[str, tuple[str, int | None]]:
    """Return the position and the lag of each group."""
    return {
        group["name"]: (group["last-delivered-id"], group["lag"])
        for group in client.xinfo_groups(STREAM)
    }


def pending(client: Any, group: str) -> list[tuple[str, str, int]]:
    return [
        (delivery["message_id"], delivery["consumer"], delivery["times_delivered"])
        for delivery in client.xpending_range(STREAM, group, "-", "+", 100_000)
    ]


def test_the_stream_keeps_entries_positions_and_pending_deliveries(client: Any) -> None:
    """More of each than the script reads at once; one group has read the forged entry."""
    with client.pipeline() as pipeline:
        for number in range(2_500):
            pipeline.xadd(STREAM, {"made": str(number)})
        ids = pipeline.execute()
    client.xtrim(STREAM, minid=ids[100], approximate=False)
    ids = ids[100:]
    for group in ("ahead", "behind", "new"):
        client.xgroup_create(STREAM, group, "0")
    client.xreadgroup("ahead", "queued:w", {STREAM: ">"})
    client.xreadgroup("behind", "queued:w", {STREAM: ">"}, count=1_500)
    client.xack(STREAM, "ahead", *ids[10:])
    client.xclaim(STREAM, "behind", "scheduled", 0, ids[:5], retrycount=3, justid=True)
    kept = client.xrange(STREAM)
    ahead, behind = pending(client, "ahead"), pending(client, "behind")

    client.xadd(STREAM, {"event": "forged"}, id=LAST_ID)
    client.xreadgroup("ahead", "queued:w", {STREAM: ">"})
    with pytest.raises(redis.ResponseError, match="exhausted"):
        client.xadd(STREAM, {"made": "refused"})

    [script] = re.findall(r"```lua\n(.*?)```", PAGE.read_text(), re.S)
    assert ids[-1] == client.eval(script, 2, STREAM, FREE)

    assert kept == client.xrange(STREAM)
    assert groups(client) == {
        "ahead": (ids[-1], 0),
        "behind": (ids[1_499], 900),
        "new": ("0-0", 2_400),
    }
    assert (ahead, behind) == (pending(client, "ahead"), pending(client, "behind"))
    assert ids[-1] < client.xadd(STREAM, {"made": "accepted"})
    assert not client.exists(FREE)
