"""The audit log: actions and the users who requested them."""

from __future__ import annotations

from tornado.web import authenticated

from celeriac.dead_letter import audit_log
from celeriac.flower.page import FlowerPage


class AuditPage(FlowerPage):
    name = "audit"

    @authenticated
    async def get(self) -> None:
        actions = await self.call(audit_log, self.backend)
        self.show(actions=actions, live_url=self.get_live_url())
