"""Processes: instances by status and age, and one instance as a timeline."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tornado.web import HTTPError, authenticated

from celeriac.errors import ConfigurationError, NotFound
from celeriac.flower.page import FlowerPage
from celeriac.outbox.database import Database, open_database
from celeriac.process.decision import Status
from celeriac.process.query import Count, Summary, counts, has_processes, history, instances
from celeriac.process.total import total
from celeriac.process.view import InstanceView, view_of
from celeriac.settings import Settings

MAX_LINES = 200


@dataclass(frozen=True, slots=True)
class Processes:
    """The instances of one status, the oldest first, and the numbers of all.

    `problem` is the reason why there are none to show.
    """

    counts: Sequence[Count] = ()
    rows: Sequence[Summary] = ()
    problem: str = ""

    def number(self, status: Status, handler: str) -> int:
        """Return the instances of the status, of the process or of all, as far as counted."""
        return total(self.counts, status, handler).number

    def number_text(self, status: Status, handler: str) -> str:
        """Return the number for people, `100,000+` if there may be more."""
        return str(total(self.counts, status, handler))

    @property
    def handlers(self) -> list[str]:
        """The ids of the processes."""
        return sorted({count.handler for count in self.counts})


class ProcessesPage(FlowerPage):
    name = "processes"

    @authenticated
    async def get(self) -> None:
        status = _status(self.parameter("status"))
        handler = self.parameter("handler") or ""
        read = await self.call(read_processes, self.service.settings, status, handler)
        self.show(
            processes=read,
            statuses=list(Status),
            status=status,
            handler=handler,
            now_ms=int(time.time() * 1000),
            instance_url=self.instance_url,
            list_url=self.list_url,
            live_url=self.get_live_url(),
        )

    def instance_url(self, handler: str, key: str) -> str:
        query = urlencode({"handler": handler, "key": key})
        return f"{self.reverse_url('celeriac-process')}?{query}"

    def list_url(self, status: Status, handler: str) -> str:
        query = {"status": status.value, **({"handler": handler} if handler else {})}
        return f"{self.reverse_url('celeriac-processes')}?{urlencode(query)}"


class ProcessPage(FlowerPage):
    name = "process"

    @authenticated
    async def get(self) -> None:
        handler, key = (
            self.parameter("handler") or "",
            self.get_query_argument("key", "", strip=False),
        )
        settings = self.service.settings
        view = await self.call(read_instance_view, settings, handler, key, settings.sensitive_names)
        self.show(view=view, live_url=self.get_live_url())


def read_processes(settings: Settings, status: Status, handler: str) -> Processes:
    """Return the instances in the database of `outbox_url`. Blocks."""
    if not settings.outbox_url:
        return Processes(
            problem="Set CELERIAC_OUTBOX_URL to the database of the service, and restart Flower."
        )
    database = open_database(settings.outbox_url)
    try:
        if not has_processes(database):
            return Processes(problem="The database has no tables of processes.")
        rows = instances(database, handler=handler, status=status, limit=MAX_LINES)
        return Processes(counts(database), rows)
    except ConfigurationError:
        raise
    except Exception as error:
        # Whatever the driver raises. The first line only, because SQLAlchemy appends the statement.
        return Processes(problem=f"The database failed: {error}".partition("\n")[0])
    finally:
        database.close()


def read_instance_view(
    settings: Settings, handler: str, key: str, sensitive: Set[str]
) -> InstanceView:
    """Return one instance. Blocks. Raises NotFound."""
    database = open_outbox(settings)
    try:
        stored = history(database, handler, key)
    finally:
        database.close()
    if stored is None:
        raise NotFound(f"instance not found: {handler} {key}. It was deleted, or the key is wrong.")
    return view_of(stored, sensitive)


def open_outbox(settings: Settings) -> Database:
    """Return the database of `outbox_url`. Raises ConfigurationError if it is not set."""
    if not settings.outbox_url:
        raise ConfigurationError("CELERIAC_OUTBOX_URL is not set. Set it, and restart Flower.")
    return open_database(settings.outbox_url)


def _status(given: str | None) -> Status:
    try:
        return Status(given or Status.OPEN.value)
    except ValueError:
        named: Any = ", ".join(status.value for status in Status)
        raise HTTPError(400, f"status is unknown. Use {named}.") from None
