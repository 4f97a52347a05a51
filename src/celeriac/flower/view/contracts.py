"""Contracts: each event type with its versions, its owner, and the handlers that read it."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import authenticated

from celeriac.contract.catalog import EventInfo
from celeriac.contract.change import changes, kind_of
from celeriac.flower.page import Page
from celeriac.store.factory import Backend
from celeriac.tracking.contracts import read_catalog

MAX_EVENTS = 300
MAX_CONSUMERS = 50


@dataclass(frozen=True, slots=True)
class Contracts:
    """`more` counts the types that are not shown."""

    shown: list[EventInfo]
    more: int
    broken: int


class ContractsPage(Page):
    name = "contracts"

    @authenticated
    async def get(self) -> None:
        chosen = self.asked("type")
        read = await self.call(read_contracts, self.backend, chosen)
        self.show(
            events=read.shown,
            more_events=read.more,
            broken=read.broken,
            chosen=chosen,
            changes=changes,
            kind_of=kind_of,
            max_consumers=MAX_CONSUMERS,
            live_url=self.get_live_url(),
        )


def read_contracts(backend: Backend, type_: str | None = None) -> Contracts:
    """Read the catalog, or one type of it. Blocks. Types with a broken reader come first."""
    catalog = [info for info in read_catalog(backend) if type_ in (None, info.type)]
    catalog.sort(key=lambda info: (not info.broken, not info.versions, info.type))
    broken = sum(bool(info.broken) for info in catalog)
    return Contracts(catalog[:MAX_EVENTS], max(0, len(catalog) - MAX_EVENTS), broken)
