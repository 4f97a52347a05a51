"""Which event caused which: up to the first cause, and down to what came of it all."""

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
from celeriac.tracking.page import Item, page_cells
from celeriac.tracking.position import GroupPosition, stands

MOST_CAUSES = 20  # steps up
MOST_NODES = 60  # events in all


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a tree. `handler` emitted it while it handled the event with the key `parent`.

    `key` is the event key, or the id alone where the event is `gone`: in the log no more, so that
    nobody knows its source. `entry` is None where it is not found: the event is postponed, or was
    appended much later than it was emitted.
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
    """Every event after its parent, siblings in the order in which they were emitted.

    `unseen` effects are not in it: the tree is as large as it may be, or they were emitted after
    the first MOST_EFFECTS of one delivery. What they led to is not counted.
    """

    nodes: tuple[Cause, ...]
    unseen: int = 0


def tree(backend: Backend, records: Sequence[HandlerRecord], located: Located) -> Tree:
    """The tree that an event belongs to. Reads no log through; see MOST_CAUSES, MOST_NODES."""
    top = _first_cause(backend, records, located)
    known = {node.key for node in top}
    levels: list[list[Cause]] = [[node] for node in top]
    unseen = 0
    depth = 0
    while depth < len(levels):
        found, unnamed = _effects(backend, records, levels[depth])
        unseen += unnamed
        following = levels[depth + 1] if depth + 1 < len(levels) else []
        for effect in found:
            if effect.key in known:
                following = [_with_handler(node, effect) for node in following]
            elif len(known) < MOST_NODES:
                known.add(effect.key)
                following = [*following, effect]
            else:
                unseen += 1
        if following:
            placed = _placed(backend, records, following)
            levels[depth + 1 : depth + 2] = [placed]
        depth += 1
    return Tree(nodes=tuple(_in_order([node for level in levels for node in level])), unseen=unseen)


def _with_handler(node: Cause, effect: Cause) -> Cause:
    same = node.key == effect.key
    return msgspec.structs.replace(node, handler=effect.handler) if same else node


def _first_cause(
    backend: Backend, records: Sequence[HandlerRecord], located: Located
) -> list[Cause]:
    """The event and the causes above it, the first cause first."""
    chain, at = [located], located
    missing: Cause | None = None
    seen = {located.key}
    while (cause := at.event.causationid) and len(chain) < MOST_CAUSES:
        try:
            several = locate(backend, records, cause)
        except NotFound:
            missing = Cause(id=cause, key=cause, type="", domain="", gone=True)
            break
        causes = [one for one in several if one.key not in seen]
        if not causes:
            break
        at = causes[0] if len(causes) == 1 else _cause_of(backend, records, at, causes)
        seen.add(at.key)
        chain.append(at)
    above = [*chain[1:], None]
    found = [
        Cause(
            id=one.event.id,
            key=one.key,
            type=one.event.type,
            domain=one.domain,
            entry=one.entry,
            time_ms=one.time_ms,
            parent=None if parent is None else parent.key,
        )
        for one, parent in reversed(list(zip(chain, above, strict=True)))
    ]
    if missing:
        found[0] = msgspec.structs.replace(found[0], parent=missing.key)
    whole = [missing, *found] if missing else found
    numbered = [msgspec.structs.replace(node, depth=n) for n, node in enumerate(whole)]
    return _placed(backend, records, numbered)


def _cause_of(
    backend: Backend, records: Sequence[HandlerRecord], effect: Located, several: Sequence[Located]
) -> Located:
    """The one of several events with one id that led to the effect, as far as their rows tell."""
    for one in several:
        node = Cause(id=one.event.id, key=one.key, type=one.event.type, domain=one.domain)
        emitted_events, _ = _effects(backend, records, [node])
        if any(found.key == effect.key for found in emitted_events):
            return one
    return several[0]


def _effects(
    backend: Backend, records: Sequence[HandlerRecord], level: Sequence[Cause]
) -> tuple[list[Cause], int]:
    """What was emitted while these were handled, and how much more that is not named."""
    answer: list[Cause] = []
    unnamed = 0
    for domain, nodes in _by_domain(level):
        for stand in stands(backend.event_log, records, domain):
            wanting = [node for node in nodes if stand.matcher.matches(node.type)]
            emitted = backend.deliveries.emitted_events(stand.group, [node.key for node in wanting])
            for node, emitted_events in zip(wanting, emitted, strict=True):
                answer += (
                    Cause(
                        id=effect.id,
                        key=effect.key,
                        type=effect.type,
                        domain=effect.type.partition(".")[0],
                        depth=node.depth + 1,
                        time_ms=id_time_ms(effect.id),
                        parent=node.key,
                        handler=stand.record.id,
                    )
                    for effect in emitted_events.named
                )
                unnamed += emitted_events.unnamed
    return answer, unnamed


def _placed(
    backend: Backend, records: Sequence[HandlerRecord], level: Sequence[Cause]
) -> list[Cause]:
    """The same with entries, where they are found, and with cells."""
    done: dict[str, Cause] = {}
    for domain, nodes in _by_domain(level):
        there = stands(backend.event_log, records, domain)
        entries = _entries(backend, domain, there, nodes)
        items = [
            Item(entries[node.key], _peek(node), node.key) for node in nodes if node.key in entries
        ]
        rows = iter(page_cells(backend, records, domain, items))
        for node in nodes:
            entry = entries.get(node.key)
            if entry is None:
                done[node.key] = node
                continue
            cells = tuple(found.cell(stand.record) for stand, found in next(rows))
            done[node.key] = msgspec.structs.replace(
                node, entry=entry, time_ms=entry_key(entry)[0], cells=cells
            )
    return [done.get(node.key, node) for node in level]


def _entries(
    backend: Backend, domain: str, there: Sequence[GroupPosition], nodes: Sequence[Cause]
) -> dict[str, str]:
    """Event key → entry: where a handler has a row, the key is registered, or the entry is of the
    time at which the id was made."""
    found = {node.key: node.entry for node in nodes if node.entry is not None}
    for stand in there:
        missing = [node.key for node in nodes if node.key not in found and _wants(stand, node)]
        for key, row in zip(missing, backend.deliveries.rows(stand.group, missing), strict=True):
            if row is not None:
                found[key] = row.entry
    missing = [node.key for node in nodes if node.key not in found]
    registered = backend.event_log.registered(domain, missing)
    found |= {key: entry for key, entry in zip(missing, registered, strict=True) if entry}
    ids = {node.key: node.id for node in nodes if node.key not in found}
    return found | entries_near_ids(backend.event_log, domain, ids)


def _wants(stand: GroupPosition, node: Cause) -> bool:
    return meant_for(stand.record.id, stand.matcher.matches(node.type), ())


def _peek(node: Cause) -> EventHeader:
    return EventHeader(id=node.id, source="", type=node.type)


def _by_domain(level: Iterable[Cause]) -> Iterable[tuple[str, list[Cause]]]:
    there = sorted((node for node in level if node.domain), key=lambda node: node.domain)
    for domain, nodes in groupby(there, key=lambda node: node.domain):
        yield domain, list(nodes)


def _in_order(nodes: Sequence[Cause]) -> Iterable[Cause]:
    """Depth first: each event before what it led to."""
    children: dict[str | None, list[Cause]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    stack = list(reversed(children.get(None, [])))
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(children.pop(node.key, []))
