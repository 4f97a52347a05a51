"""Contracts: each event type with its versions, its owner and its handlers."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import authenticated

from celeriac.contract.catalog import EventInfo
from celeriac.contract.change import changes, kind_of
from celeriac.flower.page import FlowerPage
from celeriac.store.factory import Backend
from celeriac.tracking.contracts import read_catalog

MAX_EVENTS = 300
MAX_CONSUMERS = 50


@dataclass(frozen=True, slots=True)
class Contracts:
    """The catalog on the page. `more` is the number of types not shown."""

    shown: list[EventInfo]
    more: int
    broken: int


class ContractsPage(FlowerPage):
    name = "contracts"

    @authenticated
    async def get(self) -> None:
        chosen = self.parameter("type")
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
    """Return the catalog, or one type of it; types with a broken reader first. Blocks."""
    catalog = [info for info in read_catalog(backend) if type_ in (None, info.type)]
    catalog.sort(key=lambda info: (not info.broken, not info.versions, info.type))
    broken = sum(bool(info.broken) for info in catalog)
    return Contracts(catalog[:MAX_EVENTS], max(0, len(catalog) - MAX_EVENTS), broken)
