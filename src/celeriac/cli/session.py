"""The settings and the backend that every command gets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import click

from celeriac.errors import NotFound
from celeriac.registry import HandlerRecord
from celeriac.service import Service
from celeriac.settings import Settings
from celeriac.store.factory import Backend, redis_backend
from celeriac.tracking import Matrix
from celeriac.visible import listed


class Session:
    """One run of a command. Connects at the first use of the backend.

    `load_service` loads the handlers of the app for which the command runs.
    """

    def __init__(
        self,
        settings: Settings,
        backend: Backend | None = None,
        load_service: Callable[[], Service] | None = None,
    ) -> None:
        self.settings = settings
        self._given = backend
        self._load_service = load_service

    @cached_property
    def backend(self) -> Backend:
        return self._given or redis_backend(self.settings)

    @cached_property
    def service(self) -> Service | None:
        """The service of the app of the command, with its handlers; None without an app.

        Imports the modules of the handlers.
        """
        return self._load_service() if self._load_service is not None else None

    @property
    def matrix(self) -> Matrix:
        return Matrix(self.backend, self.settings.sensitive_names)

    def handler(self, name: str) -> HandlerRecord:
        """Return the registered handler. Raises NotFound, which lists the registered handlers."""
        records = self.backend.registry.handlers()
        if name not in records:
            known = listed(sorted(records)) or "none. Start a worker: it registers its handlers"
            raise NotFound(f"handler not found: {name}. Registered handlers: {known}.")
        return records[name]


pass_session = click.make_pass_decorator(Session)
