"""The instances of processes in a tree of causes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from celeriac.errors import CeleriacError
from celeriac.event import decode
from celeriac.outbox.database import Database
from celeriac.process.advance import instance_key
from celeriac.process.query import history
from celeriac.store.factory import Backend
from celeriac.tracking import Cause, Tree

OPTION = "process"  # of a handler's record: the key of its instances


class TracedInstance(msgspec.Struct, frozen=True, kw_only=True):
    """The instance that an event of the tree belongs to.

    `event` is the event key. `status` is empty if the database is unknown or has no such instance.
    """

    event: str
    handler: str
    key: str
    status: str = ""


def traced_instances(
    backend: Backend, tree: Tree, database: Database | None
) -> list[TracedInstance]:
    """Return the instances of the processes that got events of the tree.

    Blocks for one read of each such event, and one query of each instance. Raises errors of the
    database.
    """
    records = backend.registry.handlers()
    paths = {id: path for id, record in records.items() if (path := record.options.get(OPTION))}
    if not paths:
        return []
    keys = list(_keys(backend, tree, paths))
    statuses: dict[tuple[str, str], str] = {}
    for _, handler, key in keys:
        if database is not None and (handler, key) not in statuses:
            stored = history(database, handler, key)
            statuses[handler, key] = stored.instance.status.value if stored else ""
    return [
        TracedInstance(
            event=event, handler=handler, key=key, status=statuses.get((handler, key), "")
        )
        for event, handler, key in keys
    ]


def _keys(backend: Backend, tree: Tree, paths: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for node in tree.nodes:
        for handler in sorted({cell.handler for cell in node.cells} & paths.keys()):
            key = _key_of(backend, node, paths[handler])
            if key:
                yield node.key, handler, key


def _key_of(backend: Backend, node: Cause, path: str) -> str:
    if node.entry is None:
        return ""
    entries = backend.event_log.read(node.domain, start=node.entry, end=node.entry, count=1)
    try:
        return instance_key(decode(entries[0].body or b""), path) if entries else ""
    except CeleriacError:
        # Encrypted data, or an event without a key: its dead letter has the reason.
        return ""
