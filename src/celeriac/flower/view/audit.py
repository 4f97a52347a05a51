"""What people had done, and who they were."""

from __future__ import annotations

from tornado.web import authenticated

from celeriac.dead_letter import acts
from celeriac.flower.page import Page


class AuditPage(Page):
    name = "audit"

    @authenticated
    async def get(self) -> None:
        found = await self.call(acts, self.backend)
        self.show(acts=found, live_url=self.get_live_url())
