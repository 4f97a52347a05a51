"""Select the events of an archive that one handler gets. Pure. Needs pyarrow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from celeriac.archive.row import SCHEMA, Row, rebuilt
from celeriac.dead_letter.actions import addressed
from celeriac.delivery import ArchivedDelivery
from celeriac.errors import ArchiveError
from celeriac.event import Matcher, event_key
from celeriac.event_log import is_entry

COUNTED = ("appended", "type", "tenant", "handlers")
_TIME = SCHEMA.field("appended").type


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The events for `handler` that match all of `matchers`, appended within a time span.

    Attributes:
        since_ms: The time of the first entry, in ms since the epoch.
        until_ms: The time of the last entry, in ms since the epoch.
        tenant: Only events of this tenant.
    """

    handler: str
    matchers: tuple[Matcher, ...]
    since_ms: int
    until_ms: int
    tenant: str | None = None

    def domains(self, archived: Collection[str]) -> list[str]:
        """Return the domains that can have such events."""
        bounds = [matcher.domains for matcher in self.matchers]
        return [
            domain
            for domain in sorted(archived)
            if all(bound is None or domain in bound for bound in bounds)
        ]

    def deliveries(self, batch: pa.RecordBatch) -> Iterator[ArchivedDelivery]:
        """Yield the selected events of a batch that has all columns, in its order."""
        for row in self._matching(batch).to_pylist():
            if row["handlers"] is None or self.handler in row["handlers"]:
                if not (row["id"] and row["source"] and is_entry(row["entry"])):
                    raise _no_event(row)
                key = event_key(row["id"], row["source"])
                yield ArchivedDelivery(row["entry"], key, self._addressed(row))

    def count(self, batch: pa.RecordBatch) -> Counter[str]:
        """Return the number of selected events by type, of a batch with the columns COUNTED."""
        matching = self._matching(batch)
        unaddressed = matching.filter(pc.field("handlers").is_null())
        counts: Counter[str] = Counter()
        for counted in unaddressed.column("type").value_counts():
            counts[counted["values"].as_py()] += counted["counts"].as_py()
        for row in matching.filter(pc.field("handlers").is_valid()).to_pylist():
            counts[row["type"]] += self.handler in row["handlers"]
        return +counts

    def _matching(self, batch: pa.RecordBatch) -> pa.Table:
        """Return the rows of matching types and of the time span, for any handlers.

        Rows that are not events have no type.
        """
        types = batch.column("type").unique().to_pylist()
        wanted = [type for type in types if type and self._matches(type)]
        appended = pc.field("appended")
        since, until = pa.scalar(self.since_ms, _TIME), pa.scalar(self.until_ms, _TIME)
        is_within = (appended >= since) & (appended <= until)
        matches = is_within & pc.field("type").isin(wanted)
        if self.tenant is not None:
            matches &= pc.field("tenant") == self.tenant
        return pa.Table.from_batches([batch]).filter(matches)

    def _matches(self, type: str) -> bool:
        return all(matcher.matches(type) for matcher in self.matchers)

    def _addressed(self, row: Row) -> bytes:
        if row["body"] is not None:
            return addressed(row["body"], self.handler)
        body = rebuilt({**row, "handlers": [self.handler]})
        if body is None:
            raise _no_event(row)
        return body


def _no_event(row: Row) -> ArchiveError:
    return ArchiveError(f"entry {row['entry']} of the archive is not an event. Restore its file")
