"""One request to an endpoint: its URL, its headers and its signature, and what its answer means."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from celeriac.errors import ConfigurationError, PushFailed, Reject
from celeriac.event import RawEvent, current_attempt
from celeriac.push.address import AddressRefused
from celeriac.push.answer import Answer, check_answer
from celeriac.push.connection import FAILURES, Target
from celeriac.push.endpoint import HeaderValue
from celeriac.push.message import header_text, message_of, trace_headers
from celeriac.push.process import sending_process
from celeriac.push.signature import Secrets, read_secrets, signature_headers

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    ("accept-encoding", "connection", "content-length", "content-type", "host", "traceparent",
     "tracestate", "transfer-encoding")
)  # fmt: skip
_OUR_PREFIXES = "ce-", "webhook-", "celeriac-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How events are sent to one endpoint. `where` names the endpoint in reasons and logs."""

    where: str
    handler: str
    target: Target
    structured: bool
    headers: Mapping[str, HeaderValue]
    secrets: Secrets | None
    sensitive_names: Set[str] = frozenset()

    def send(self, event: RawEvent, message_id: str) -> None:
        """Send the event, and return if the endpoint has processed it. Blocks.

        Raises PushFailed if it must be sent again, and Reject if not.
        """
        message = message_of(event, structured=self.structured)
        headers = {**message.headers, **trace_headers(event)}
        headers["celeriac-handler"] = header_text(self.handler)
        headers["celeriac-attempt"] = str(current_attempt() or 1)
        headers |= header_values(self.headers, self.where)
        if secrets := read_secrets(self.secrets, self.where):
            headers |= signature_headers(message_id, int(time.time()), message.body, secrets)
        answer = self._post(headers, message.body)
        check_answer(answer, self.where, event, self.sensitive_names, datetime.now(UTC))

    def _post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            return sending_process().post(self.target, headers, body)
        except AddressRefused as error:
            raise Reject(
                f"{self.where}: {error}. If it is your own, pass allow_private=True to bus.webhooks"
            ) from None
        except TimeoutError:
            raise PushFailed(f"{self.where}: no answer within {self.target.timeout:g} s") from None
        except FAILURES as error:
            text = f": {error}" if str(error) else ""
            raise PushFailed(f"{self.where}: {type(error).__name__}{text}") from None


def read_url(url: object, owner: str) -> httpx.URL:
    """Return the URL of an endpoint. Raises ConfigurationError, without the URL, if it is wrong."""
    try:
        parsed = httpx.URL(str(url))
        host = parsed.host  # httpx decodes it here
        # As getaddrinfo does, which refuses empty and long labels.
        parsed.raw_host.decode("ascii").encode("idna")
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise ConfigurationError(f"{owner}: the URL is invalid") from None
    if parsed.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"{owner}: the URL must begin with https:// or http:// and a host")
    if parsed.userinfo:
        raise ConfigurationError(
            f"{owner}: the URL has a user or a password. Send them as "
            "headers={'authorization': …}"
        )
    return parsed


def origin_of(url: httpx.URL) -> str:
    """Return the part of a URL that contains no secret: without path and query."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def check_header_names(headers: Mapping[str, HeaderValue], owner: str) -> None:
    """Raise ConfigurationError for a header that is invalid, or that is set by celeriac."""
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"{owner}: headers must be a mapping of names to values")
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(f"{owner}: {name!r} is not the name of a header")
        if name.lower() in _OURS or name.lower().startswith(_OUR_PREFIXES):
            raise ConfigurationError(f"{owner}: the header {name!r} is set by celeriac")
        if not callable(value):
            _check_value(name, value, owner)


def header_values(headers: Mapping[str, HeaderValue], owner: str) -> dict[str, str]:
    """Return the headers, with the results of callables.

    Raises ConfigurationError, without the value, for an invalid one.
    """
    values = {}
    for name, given in headers.items():
        value = given() if callable(given) else given
        _check_value(name, value, owner)
        values[name.lower()] = value
    return values


def _check_value(name: str, value: object, owner: str) -> None:
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise ConfigurationError(
            f"{owner}: the value of the header {name!r} must be a str of one line in Latin-1"
        )
