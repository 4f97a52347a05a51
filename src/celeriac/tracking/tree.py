"""The tree of causes: from the first cause to all consequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from celeriac.errors import NotFound
from celeriac.event import EventHeader, id_time_ms, meant_for
from celeriac.event_log import entry_key
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import Cell, Located
from celeriac.tracking.locate import entries_near_ids, locate
from celeriac.tracking.page import PageItem, page_cells
from celeriac.tracking.position import GroupPosition, group_positions

MAX_CAUSES = 20  # levels above the event
MAX_NODES = 60  # events in total


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a tree. `handler` emitted it while it ran on the event with the key `parent`.

    `key` is the event key, or only the id if the event is `gone`: no longer in the log, so that its
    source is unknown. `entry` is None if it is not known: the event is delayed, or was appended
    much later than emitted.
    """

    id: str
    key: str
    type: str
    domain: str
    depth: int = 0
    entry: str | None = None
    time_ms: int | None = None
    parent: str | None = None
    handler: str = ""
    cells: tuple[Cell, ...] = ()
    gone: bool = False


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """All events, each after its parent, siblings in the order of their emits.

    `unseen` events are omitted: the tree has its maximum size, or they were emitted after the first
    MAX_EMITTED of one delivery. Their consequences are not counted.
    """

    nodes: tuple[Cause, ...]
    unseen: int = 0


def tree(backend: Backend, records: Sequence[HandlerRecord], located: Located) -> Tree:
    """Return the tree of an event. Does not scan logs; bounded by MAX_CAUSES and MAX_NODES."""
    top = _first_cause(backend, records, located)
    known = {node.key for node in top}
    levels: list[list[Cause]] = [[node] for node in top]
    unseen = 0
    depth = 0
    while depth < len(levels):
        emitted, unnamed = _emitted_events(backend, records, levels[depth])
        unseen += unnamed
        following = levels[depth + 1] if depth + 1 < len(levels) else []
        for event in emitted:
            if event.key in known:
                following = [_with_handler(node, event) for node in following]
            elif len(known) < MAX_NODES:
                known.add(event.key)
                following = [*following, event]
            else:
                unseen += 1
        if following:
            placed = _placed(backend, records, following)
            levels[depth + 1 : depth + 2] = [placed]
        depth += 1
    return Tree(nodes=tuple(_in_order([node for level in levels for node in level])), unseen=unseen)


def _with_handler(node: Cause, event: Cause) -> Cause:
    same = node.key == event.key
    return msgspec.structs.replace(node, handler=event.handler) if same else node


def _first_cause(
    backend: Backend, records: Sequence[HandlerRecord], located: Located
) -> list[Cause]:
    """Return the event and the causes above it, the first cause first."""
    chain, at = [located], located
    missing: Cause | None = None
    seen = {located.key}
    while (cause := at.event.causationid) and len(chain) < MAX_CAUSES:
        try:
            candidates = locate(backend, records, cause)
        except NotFound:
            missing = Cause(id=cause, key=cause, type="", domain="", gone=True)
            break
        causes = [candidate for candidate in candidates if candidate.key not in seen]
        if not causes:
            break
        at = causes[0] if len(causes) == 1 else _cause_of(backend, records, at, causes)
        seen.add(at.key)
        chain.append(at)
    above = [*chain[1:], None]
    path = [
        Cause(
            id=located.event.id,
            key=located.key,
            type=located.event.type,
            domain=located.domain,
            entry=located.entry,
            time_ms=located.time_ms,
            parent=None if parent is None else parent.key,
        )
        for located, parent in reversed(list(zip(chain, above, strict=True)))
    ]
    if missing:
        path[0] = msgspec.structs.replace(path[0], parent=missing.key)
    nodes = [missing, *path] if missing else path
    numbered = [msgspec.structs.replace(node, depth=n) for n, node in enumerate(nodes)]
    return _placed(backend, records, numbered)


def _cause_of(
    backend: Backend,
    records: Sequence[HandlerRecord],
    effect: Located,
    candidates: Sequence[Located],
) -> Located:
    """Return which of several events with one id caused the event, as far as their rows show."""
    for candidate in candidates:
        node = Cause(
            id=candidate.event.id,
            key=candidate.key,
            type=candidate.event.type,
            domain=candidate.domain,
        )
        emitted_events, _ = _emitted_events(backend, records, [node])
        if any(event.key == effect.key for event in emitted_events):
            return candidate
    return candidates[0]


def _emitted_events(
    backend: Backend, records: Sequence[HandlerRecord], level: Sequence[Cause]
) -> tuple[list[Cause], int]:
    """Return the events emitted by handlers of these events, and the number of unnamed ones."""
    answer: list[Cause] = []
    unnamed = 0
    for domain, nodes in _by_domain(level):
        for position in group_positions(backend.event_log, records, domain):
            wanting = [node for node in nodes if position.matcher.matches(node.type)]
            emitted = backend.deliveries.emitted_events(
                position.group, [node.key for node in wanting]
            )
            for node, emitted_events in zip(wanting, emitted, strict=True):
                answer += (
                    Cause(
                        id=event.id,
                        key=event.key,
                        type=event.type,
                        domain=event.type.partition(".")[0],
                        depth=node.depth + 1,
                        time_ms=id_time_ms(event.id),
                        parent=node.key,
                        handler=position.record.id,
                    )
                    for event in emitted_events.named
                )
                unnamed += emitted_events.unnamed
    return answer, unnamed


def _placed(
    backend: Backend, records: Sequence[HandlerRecord], level: Sequence[Cause]
) -> list[Cause]:
    """Add entries, if known, and cells."""
    done: dict[str, Cause] = {}
    for domain, nodes in _by_domain(level):
        positions = group_positions(backend.event_log, records, domain)
        entries = _entries(backend, domain, positions, nodes)
        items = [
            PageItem(entries[node.key], _peek(node), node.key)
            for node in nodes
            if node.key in entries
        ]
        rows = iter(page_cells(backend, records, domain, items))
        for node in nodes:
            entry = entries.get(node.key)
            if entry is None:
                done[node.key] = node
                continue
            cells = tuple(stored.cell(position.record) for position, stored in next(rows))
            done[node.key] = msgspec.structs.replace(
                node, entry=entry, time_ms=entry_key(entry)[0], cells=cells
            )
    return [done.get(node.key, node) for node in level]


def _entries(
    backend: Backend, domain: str, positions: Sequence[GroupPosition], nodes: Sequence[Cause]
) -> dict[str, str]:
    """Return entries by event key.

    An entry is known if a handler has a row, the key is registered, or the entry was appended at
    the time in the id.
    """
    entries = {node.key: node.entry for node in nodes if node.entry is not None}
    for position in positions:
        missing = [node.key for node in nodes if node.key not in entries and _wants(position, node)]
        for key, row in zip(missing, backend.deliveries.rows(position.group, missing), strict=True):
            if row is not None:
                entries[key] = row.entry
    missing = [node.key for node in nodes if node.key not in entries]
    registered = backend.event_log.registered(domain, missing)
    entries |= {key: entry for key, entry in zip(missing, registered, strict=True) if entry}
    ids = {node.key: node.id for node in nodes if node.key not in entries}
    return entries | entries_near_ids(backend.event_log, domain, ids)


def _wants(position: GroupPosition, node: Cause) -> bool:
    return meant_for(position.record.id, position.matcher.matches(node.type), ())


def _peek(node: Cause) -> EventHeader:
    return EventHeader(id=node.id, source="", type=node.type)


def _by_domain(level: Iterable[Cause]) -> Iterable[tuple[str, list[Cause]]]:
    there = sorted((node for node in level if node.domain), key=lambda node: node.domain)
    for domain, nodes in groupby(there, key=lambda node: node.domain):
        yield domain, list(nodes)


def _in_order(nodes: Sequence[Cause]) -> Iterable[Cause]:
    """Yield the events depth first: each before its consequences."""
    children: dict[str | None, list[Cause]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    stack = list(reversed(children.get(None, [])))
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(children.pop(node.key, []))
