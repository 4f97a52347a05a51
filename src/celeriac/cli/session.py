"""What every command is given: the settings, and what they lead to."""

from __future__ import annotations

from functools import cached_property

import click

from celeriac.errors import NotFound
from celeriac.matrix import Matrix
from celeriac.registry import HandlerRecord
from celeriac.settings import Settings
from celeriac.subscription import Backend
from celeriac.subscription.service import redis_backend
from celeriac.visible import listed


class Session:
    """One run of a command. Connects at the first use of the backend."""

    def __init__(self, settings: Settings, backend: Backend | None = None) -> None:
        self.settings = settings
        self._given = backend

    @cached_property
    def backend(self) -> Backend:
        return self._given or redis_backend(self.settings)

    @property
    def matrix(self) -> Matrix:
        return Matrix(self.backend, self.settings.sensitive_names)

    def handler(self, name: str) -> HandlerRecord:
        """The registered handler. Raises NotFound, which names those there are."""
        records = self.backend.registry.handlers()
        if name not in records:
            there = (
                listed(sorted(records)) or "none; a handler is registered when its worker starts"
            )
            raise NotFound(f"no handler {name}; there are: {there}")
        return records[name]


pass_session = click.make_pass_decorator(Session)
