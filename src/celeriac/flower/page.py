"""What all our pages share: the bus of the app, the guard, threads, and how errors are told."""

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
from celeriac.worker.installed import services_of

logger = logging.getLogger(__name__)
T = TypeVar("T")

MAX_SUGGESTED = 500  # names to choose from in one field


class NoBus(CeleriacError):
    """The app that Flower watches has no event bus."""


class Unreachable(HTTPError):
    """Redis does not take part; the reason is for people."""


class Page(BaseHandler):  # type: ignore[misc]
    """A page, or with `?live=1` the part of it that changes.

    `name` is that of its template: `celeriac-NAME.html` extends Flower's own page and includes
    `celeriac-NAME_live.html`.
    """

    name = ""
    application: Any  # Flower's own, with its options, its events and the workers it knows

    def set_default_headers(self) -> None:
        super().set_default_headers()
        # Flower opens itself to every site where it runs without authentication.
        for header in ("Origin", "Headers", "Methods"):
            self.clear_header(f"Access-Control-Allow-{header}")
        for header, value in guard.HEADERS.items():
            self.set_header(header, value)

    def options(self, *_: Any, **__: Any) -> None:
        raise HTTPError(405)

    def prepare(self) -> None:
        guard.check_read(self.request, self.application.options)

    @property
    def service(self) -> Service:
        services = services_of(self.capp)
        if not services:
            raise NoBus("this app has no event bus; make one with EventBus(app)")
        return services[0]

    @property
    def backend(self) -> Backend:
        return self.service.backend

    @property
    def matrix(self) -> Matrix:
        return Matrix(self.backend, self.service.settings.sensitive)

    @property
    def may_act(self) -> str:
        """Why nobody may act here; '' if somebody may."""
        try:
            guard.check_ability(self.application.options)
        except HTTPError as error:
            return error.log_message or ""
        return ""

    @property
    def may_edit(self) -> str:
        """Why this user may not edit dead letters; '' if they may."""
        if refused := self.may_act:
            return refused
        try:
            guard.check_edit(guard.user_of(self))
        except HTTPError as error:
            return error.log_message or ""
        return ""

    def asked(self, name: str) -> str | None:
        """A parameter of the address as it was given, without blanks around; None if it is empty.

        Not Flower's `get_argument`, which escapes it as if it went into markup."""
        return self.get_query_argument(name, "").strip() or None

    def cursor(self) -> str:
        """Where a page begins, `domain/entry`; '' for the newest. Raises HTTPError for nonsense."""
        asked = self.asked("before") or ""
        domain, _, entry = asked.rpartition("/")
        if asked and not (domain and is_entry(entry)):
            raise HTTPError(400, "before: no place in the log")
        return asked

    async def call(self, work: Callable[..., T], *args: Any) -> T:
        """The result of what blocks. Raises Unreachable where Redis is away."""
        try:
            return await in_thread(work, *args)
        except redis.RedisError as error:
            settings = self.service.settings
            said = explain(error, url=settings.redis_url, tries=1, seconds=settings.emit_timeout)
            raise Unreachable(503, str(said).replace("%", "%%")) from error

    def event_url(self, id: str, domain: str = "", entry: str | None = None) -> str:
        """The address of an event's page, with where it lies, as far as that is known.

        Not `reverse_url`, which leaves the slashes of an id as they are: browsers take dots between
        them for a way up."""
        page = f"{self.reverse_url('celeriac-event', 'x')[:-1]}{quote(id, safe='')}"
        return f"{page}?at={quote(f'{domain}/{entry}')}" if domain and entry else page

    def explain_url(self, handler: str, **asked: str | None) -> str:
        """The address of why the handler did, or did not, get an event (`event`, `at`) or would get
        one of a `type`."""
        given = {**asked, "handler": handler}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"{self.reverse_url('celeriac-explain')}?{query}"

    def show(self, **values: Any) -> None:
        """Renders the page, or the part that changes."""
        live = self.asked("live") is not None
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
        """The address of the part that changes."""
        joint = "&" if self.request.query else "?"
        return f"{self.request.uri}{joint}live=1"

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, NotFound):
            status_code, said = 404, str(error)
        elif isinstance(error, CeleriacError):
            status_code, said = 400, str(error)
        elif isinstance(error, HTTPError) and status_code not in (401, 500):
            said = error.get_message() or error.reason or ""
        else:
            super().write_error(status_code, **kwargs)
            return
        if not hasattr(self, "_current_user"):
            # Flower's way to render a page for somebody that was not let in.
            self.current_user = None
        self.set_status(status_code)
        self.render(
            "celeriac-error.html",
            said=said,
            status=status_code,
            asset=lambda name: asset(self, name),
            name="",
        )

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        # What a person got wrong, or Redis being away, is no fault of the program.
        if isinstance(value, (CeleriacError, MissingArgumentError)):
            logger.info("%s: %s", self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


def now_ms() -> int:
    """By this machine's clock, for pages: the browser counts on from there."""
    return int(time.time() * 1000)
