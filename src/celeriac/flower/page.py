"""The base of all our pages: the bus of the app, access control, threads and error pages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import redis
from flower.views import BaseHandler
from tornado.web import HTTPError, MissingArgumentError

from celeriac.errors import CeleriacError, NotFound
from celeriac.event_log import is_entry
from celeriac.flower import guard, show
from celeriac.flower.asset import asset
from celeriac.flower.threads import in_thread
from celeriac.service import Service
from celeriac.store.factory import Backend
from celeriac.store.redis.connection import explain
from celeriac.tracking import Matrix
from celeriac.worker.app_services import services_of

logger = logging.getLogger(__name__)
T = TypeVar("T")

MAX_SUGGESTED = 500  # names to choose from in one field


class NoBus(CeleriacError):
    """The app that Flower monitors has no event bus."""


class RedisUnreachable(HTTPError):
    """Redis is unreachable or full. The reason is shown on the page."""


class FlowerPage(BaseHandler):  # type: ignore[misc]
    """A page, or with `?live=1` the part of it that updates.

    `name` is the name of its template: `celeriac-NAME.html` extends Flower's own page and includes
    `celeriac-NAME_live.html`.
    """

    name = ""
    application: Any  # Flower's own, with its options, its events and its workers

    def set_default_headers(self) -> None:
        super().set_default_headers()
        # Flower allows cross-origin requests from every site if it runs without authentication.
        for header in ("Origin", "Headers", "Methods"):
            self.clear_header(f"Access-Control-Allow-{header}")
        for header, value in guard.HEADERS.items():
            self.set_header(header, value)

    def options(self, *_: Any, **__: Any) -> None:
        raise HTTPError(405)

    def prepare(self) -> None:
        guard.check_read(self.request, self.application.options)

    @property
    def known_workers(self) -> set[str]:
        """The workers that have a page in Flower. Call it on Flower's own loop.

        Flower inspects those that run when it starts, and the others when their page is opened.
        """
        workers = self.application.events.state.workers
        alive = (name for name, worker in workers.items() if worker.alive)
        return {*self.application.workers, *alive}

    @property
    def service(self) -> Service:
        services = services_of(self.capp)
        if not services:
            raise NoBus("This app has no event bus. Create one with EventBus(app).")
        return services[0]

    @property
    def backend(self) -> Backend:
        return self.service.backend

    @property
    def matrix(self) -> Matrix:
        return Matrix(self.backend, self.service.settings.sensitive_names)

    @property
    def may_act(self) -> str:
        """The reason why no user may act here, or ''."""
        try:
            guard.check_ability(self.application.options)
        except HTTPError as error:
            return error.log_message or ""
        return ""

    @property
    def may_edit(self) -> str:
        """The reason why this user may not edit dead letters, or ''."""
        if refused := self.may_act:
            return refused
        try:
            guard.check_edit(guard.user_of(self))
        except HTTPError as error:
            return error.log_message or ""
        return ""

    def parameter(self, name: str) -> str | None:
        """Return a query parameter without surrounding blanks; None if it is empty.

        Flower's `get_argument` escapes the value for markup, so it is not used.
        """
        return self.get_query_argument(name, "").strip() or None

    def cursor(self) -> str:
        """Return the position where a page begins, `domain/entry`; '' for the newest.

        Raises HTTPError if it is invalid.
        """
        cursor = self.parameter("before") or ""
        domain, _, entry = cursor.rpartition("/")
        if cursor and not (domain and is_entry(entry)):
            raise HTTPError(400, "before is not a position in the log. Write DOMAIN/ENTRY.")
        return cursor

    async def call(self, work: Callable[..., T], *args: Any) -> T:
        """Run a blocking call in a thread. Raises Unreachable if Redis does not respond."""
        try:
            return await in_thread(work, *args)
        except redis.RedisError as error:
            settings = self.service.settings
            explained = explain(
                error, url=settings.redis_url, tries=1, seconds=settings.emit_timeout
            )
            raise RedisUnreachable(503, str(explained).replace("%", "%%")) from error

    def event_url(self, id: str, domain: str = "", entry: str | None = None) -> str:
        """Return the URL of an event's page, with the entry if it is known.

        `reverse_url` leaves the slashes of an id as they are, and browsers read dots between them
        as a parent folder.
        """
        page = f"{self.reverse_url('celeriac-event', 'x')[:-1]}{quote(id, safe='')}"
        return f"{page}?at={quote(f'{domain}/{entry}')}" if domain and entry else page

    def explain_url(self, handler: str, **event: str | None) -> str:
        """Return the URL that explains why the handler did or did not get an event.

        Pass `event` and `at`, or the `type` of an event that is not emitted yet.
        """
        given = {**event, "handler": handler}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"{self.reverse_url('celeriac-explain')}?{query}"

    def show(self, **values: Any) -> None:
        """Render the page, or the part that updates."""
        live = self.parameter("live") is not None
        self.render(
            f"celeriac-{self.name}_live.html" if live else f"celeriac-{self.name}.html",
            show=show,
            asset=lambda name: asset(self, name),
            event_url=self.event_url,
            may_act=self.may_act,
            name=self.name,
            invalid=list(self.backend.invalid),
            **values,
        )

    def get_live_url(self) -> str:
        """Return the URL of the part that updates."""
        joint = "&" if self.request.query else "?"
        return f"{self.request.uri}{joint}live=1"

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, NotFound):
            status_code, message = 404, str(error)
        elif isinstance(error, CeleriacError):
            status_code, message = 400, str(error)
        elif isinstance(error, HTTPError) and status_code not in (401, 500):
            message = error.get_message() or error.reason or ""
        else:
            super().write_error(status_code, **kwargs)
            return
        if not hasattr(self, "_current_user"):
            # Flower renders pages for users that are not authenticated like this.
            self.current_user = None
        self.set_status(status_code)
        self.render(
            "celeriac-error.html",
            message=message,
            status=status_code,
            asset=lambda name: asset(self, name),
            name="",
        )

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        # A user's mistake, or an unreachable Redis, is no fault of the program.
        if isinstance(value, (CeleriacError, MissingArgumentError)):
            logger.info("%s: %s", self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


def now_ms() -> int:
    """Return the time by this machine's clock; the browser counts from it."""
    return int(time.time() * 1000)
