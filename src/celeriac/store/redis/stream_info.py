"""Read the statistics of streams, consumer groups and servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from celeriac.event_log.event_log import Eviction, GroupInfo, StreamStats, entry_key, next_id
from celeriac.event_log.open_chunk import OpenChunk, chunks_by_id, in_log_order, parse_chunk
from celeriac.invalid_record import InvalidRecords, is_wrong_type
from celeriac.store.redis.connection import Client
from celeriac.store.redis.keys import Keys


def read_stream_stats(
    client: Client, keys: Keys, invalid: InvalidRecords, domains: Sequence[str]
) -> list[StreamStats]:
    """Return the statistics of these domains. Blocks for a round trip."""
    pipeline = client.pipeline(transaction=False)
    for domain in domains:
        pipeline.xinfo_stream(keys.events(domain))
        pipeline.zcard(keys.delayed(domain))
        pipeline.hgetall(keys.emitted(domain))
    answers = iter(pipeline.execute(raise_on_error=False) if domains else ())
    return [
        _stream_stats(keys, invalid, domain, next(answers), next(answers), next(answers))
        for domain in domains
    ]


def _stream_stats(
    keys: Keys, invalid: InvalidRecords, domain: str, stream: Any, delayed: Any, emitted: Any
) -> StreamStats:
    answer = invalid.answer
    if isinstance(stream, ResponseError) and not is_wrong_type(stream):
        stream = {}  # no such stream
    stream = answer(keys.events(domain), stream, {})
    key = keys.emitted(domain)
    counts = invalid.decode_all(key, answer(key, emitted, {}), lambda _, n: int(n))
    return StreamStats(
        domain,
        length=int(stream.get("length", 0)),
        appended=int(stream.get("entries-added", 0)),
        delayed=int(answer(keys.delayed(domain), delayed, 0)),
        emitted=counts,
        newest=stream.get("last-generated-id", b"0-0").decode(),
    )


def read_groups(
    client: Client, keys: Keys, invalid: InvalidRecords, domain: str
) -> list[GroupInfo]:
    """Return the consumer groups of a domain, [] without a stream. Blocks for two round trips."""
    key = keys.events(domain)
    try:
        groups = client.xinfo_groups(key)
    except ResponseError as error:
        if is_wrong_type(error):
            invalid.answer(key, error, [])
        return []  # no such stream
    pipeline = client.pipeline(transaction=False)
    for group in groups:
        pipeline.hgetall(keys.chunks(domain, group["name"].decode()))
        pipeline.xpending(key, group["name"])
    answers = iter(pipeline.execute(raise_on_error=False) if groups else ())
    return [_group(keys, invalid, domain, info, next(answers), next(answers)) for info in groups]


def _group(
    keys: Keys,
    invalid: InvalidRecords,
    domain: str,
    info: Mapping[str, Any],
    stored: Any,
    pending: Any,
) -> GroupInfo:
    key = keys.chunks(domain, info["name"].decode())
    fields = chunks_by_id(invalid.answer(key, stored, {}))
    chunks = invalid.decode_all(key, fields, parse_chunk)
    return _group_info(info, in_log_order(chunks.values()), pending)


def _group_info(info: Mapping[str, Any], chunks: Sequence[OpenChunk], pending: Any) -> GroupInfo:
    holders: Counter[str] = Counter()
    oldest = []
    pending_count = int(info["pending"])
    if isinstance(pending, dict):
        # Read after the chunks: entries of a chunk may have become pending since the position was.
        pending_count = int(pending["pending"])
        oldest = [pending["min"].decode()] if pending["min"] else []
        for consumer in pending["consumers"] or ():
            holders[consumer["name"].decode()] += int(consumer["pending"])
    in_chunks = 0
    for chunk in chunks:
        in_chunks += chunk.count
        holders[chunk.owner] += chunk.count
        oldest.append(next_id(chunk.after))
    lag, read = info.get("lag"), info.get("entries-read")
    return GroupInfo(
        handler=info["name"].decode(),
        last_delivered=info["last-delivered-id"].decode(),
        pending=pending_count + in_chunks,
        lag=None if lag is None else max(0, int(lag)),
        read=None if read is None else int(read),
        holders=holders,
        oldest_pending=min(oldest, key=entry_key, default=None),
        chunks=tuple(chunks),
    )


def read_eviction(where: str, client: Client) -> Eviction:
    """Return what a server evicts. Blocks for two round trips. Raises ResponseError if INFO is not
    allowed."""
    memory, stats = client.info("memory"), client.info("stats")
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    return Eviction(where, policy, int(stats.get("evicted_keys", 0)))
