"""Tokens: which events a client may send, and for which handlers it may act."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from celeriac.errors import ConfigurationError, InvalidEvent, SubscriptionError
from celeriac.event import Matcher, RawEvent, compile_patterns
from celeriac.event.attributes import check_text
from celeriac.gateway.refusal import UNAVAILABLE_RETRY_SECONDS, Refusal, retry_after
from celeriac.settings import SERVICE
from celeriac.tenant import tenants_fault
from celeriac.visible import visible_line

# One or several; while you rotate, the new and the old one. A callable is called for each request.
Secrets = str | Sequence[str] | Callable[[], "str | Sequence[str]"]

MIN_SECRET = 16
_HANDLER = re.compile(r"[A-Za-z0-9_-]+\.(?:[A-Za-z_][A-Za-z0-9_]*|\*)")
_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
_CHALLENGE = {"www-authenticate": 'Bearer realm="celeriac"'}


@dataclass(frozen=True, slots=True)
class Token:
    """What one client may send. Its repr has no secret.

    Attributes:
        name: Identifies the client in logs.
        secret: One or several texts of at least 16 characters, or `sha256:` and the hex digest of
            one. Also a callable that returns them for each request.
        types: Patterns of the event types that it may send.
        source: The `source` that its events must have. Default: the name.
        tenants: The tenants that its events may have, and whose events its pull handlers may get.
            If there is one, events without a tenant get it; else they are refused. Default: all.
        handlers: Ids of the pull handlers that it may act for: `'search.index'`, or `'search.*'`
            for all of a service.
        scale: The services whose scale it may read, which names their handlers; `'*'` for all.
        metrics: Whether it may read `/metrics`, which name all tokens.
    """

    name: str
    secret: Secrets = field(repr=False)
    types: Sequence[str] = ()
    source: str = ""
    tenants: Sequence[str] = ()
    handlers: Sequence[str] = ()
    scale: Sequence[str] = ()
    metrics: bool = False
    matcher: Matcher | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        owner = f"Token({self.name!r})"
        try:
            check_text("name", self.name)
            check_text("source", self.source or self.name)
        except InvalidEvent as error:
            raise ConfigurationError(f"{owner}: {error}") from None
        for option in ("types", "tenants", "handlers", "scale"):
            given = getattr(self, option)
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise ConfigurationError(f"{owner}: {option} must be a list, like [{given!r}]")
        if not isinstance(self.metrics, bool):
            raise ConfigurationError(f"{owner}: metrics={self.metrics!r}: must be True or False")
        try:
            matcher = compile_patterns(*self.types) if self.types else None
        except SubscriptionError as error:
            raise ConfigurationError(f"{owner}: types: {error}") from None
        if fault := tenants_fault(self.tenants):
            raise ConfigurationError(f"{owner}: tenants: {fault}")
        check_handlers(self.handlers, owner)
        for service in self.scale:
            if service != "*" and not (isinstance(service, str) and SERVICE.fullmatch(service)):
                raise ConfigurationError(
                    f"{owner}: scale has {service!r}: must be the name of a service, or '*' for all"
                )
        object.__setattr__(self, "matcher", matcher)
        object.__setattr__(self, "source", self.source or self.name)
        if not callable(self.secret):
            digests_of(self.secret, owner)

    def admit(self, event: RawEvent) -> RawEvent:
        """Return the event, with the tenant of a token that has exactly one.

        Raises Refusal (403) unless the token may send it.
        """
        if self.matcher is None or not self.matcher.matches(event.type):
            allowed = ", ".join(self.types) or "no types"
            raise Refusal(
                403,
                f"the token {self.name} may not send {event.type}. It may send {allowed}",
                field="type",
            )
        if event.source != self.source:
            raise Refusal(
                403, f"the token {self.name} may only send the source {self.source}", field="source"
            )
        if not self.tenants or event.tenant in self.tenants:
            return event
        if event.tenant is None and len(self.tenants) == 1:
            return replace(event, tenant=self.tenants[0])
        sent = "events without a tenant" if event.tenant is None else f"tenant {event.tenant}"
        raise Refusal(
            403,
            f"the token {self.name} may not send {sent}. It may send {', '.join(self.tenants)}",
            field="tenant",
        )

    def check_tenants(self, tenants: Collection[str] | None) -> None:
        """Raise Refusal (403) unless the token may get the events of a handler with `tenants=`."""
        if not self.tenants or (tenants and all(each in self.tenants for each in tenants)):
            return
        raise Refusal(
            403,
            f"the token {self.name} may only act for handlers with tenants among "
            f"{', '.join(self.tenants)}. Register it under another id, or with a token that has "
            "its tenants",
            field="tenants",
            code="forbidden",
        )

    def check_handler(self, handler: str) -> None:
        """Raise Refusal (403) unless the token may act for the handler."""
        service = handler.partition(".")[0]
        if handler not in self.handlers and f"{service}.*" not in self.handlers:
            allowed = ", ".join(self.handlers) or "no handlers"
            raise Refusal(
                403,
                f"the token {self.name} may not act for {visible_line(handler)}. It may act for "
                f"{allowed}",
                code="forbidden",
            )

    def check_scale(self, service: str) -> None:
        """Raise Refusal (403) unless the token may read the scale of the service."""
        if "*" not in self.scale and service not in self.scale:
            raise Refusal(
                403,
                f"the token {self.name} may not read the scale of {visible_line(service)}. Set "
                "scale= in it",
                code="forbidden",
            )


class Tokens:
    """The tokens of a gateway. Raises ConfigurationError if two share a name or a secret."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        names = [token.name for token in tokens]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(f"two tokens are named {name!r}. Rename one of them")
        self._fixed: list[tuple[bytes, Token]] = []
        self._called: list[Token] = []
        for token in tokens:
            if callable(token.secret):
                self._called.append(token)
            else:
                self._fixed += [(digest, token) for digest in _digests(token)]
        digests = [digest for digest, _ in self._fixed]
        if len({*digests}) < len(digests):
            raise ConfigurationError("two tokens have the same secret. Generate a new one")

    def authenticate(self, headers: Mapping[str, str]) -> Token:
        """Return the token of a request. Raises Refusal (401).

        Digests are compared in constant time, and all of them, so that the time depends on no
        secret. If the secret of one token cannot be read, the others are valid still; a request
        with none of them is answered with 503.
        """
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            raise Refusal(
                401, "the token is missing. Send 'Authorization: Bearer …'", headers=_CHALLENGE
            )
        digest = hashlib.sha256(given.strip().encode("utf-8", "surrogatepass")).digest()
        matching: Token | None = None
        for known, token in self._fixed:
            if hmac.compare_digest(known, digest):
                matching = token
        unreadable = ""
        for token in self._called:
            try:
                digests = _digests(token)
            except Exception as error:
                # Without the message, which may have the secret. Those of celeriac have none.
                is_ours = isinstance(error, ConfigurationError)
                unreadable = str(error) if is_ours else _unreadable(token, error)
                continue
            for known in digests:
                if hmac.compare_digest(known, digest):
                    matching = token
        if matching is not None:
            return matching
        if unreadable:
            raise Refusal(
                503,
                "the token cannot be checked now. Send the request again",
                headers=retry_after(UNAVAILABLE_RETRY_SECONDS),
                cause=unreadable,
            )
        raise Refusal(401, "the token is unknown", headers=_CHALLENGE)


def check_handlers(handlers: Sequence[str], owner: str) -> None:
    """Raise ConfigurationError unless each is the id of a handler, or `service.*`."""
    for handler in handlers:
        if not isinstance(handler, str) or not _HANDLER.fullmatch(handler):
            raise ConfigurationError(
                f"{owner}: handlers has {handler!r}: must be the id of a handler, such as "
                "'search.index', or 'search.*' for all of the service"
            )


def _digests(token: Token) -> list[bytes]:
    given = token.secret() if callable(token.secret) else token.secret
    return digests_of(given, f"Token({token.name!r})")


def _unreadable(token: Token, error: Exception) -> str:
    return f"Token({token.name!r}): its secret cannot be read: {type(error).__name__}"


def digests_of(secrets: str | Sequence[str], owner: str) -> list[bytes]:
    """Return the SHA-256 digest of each secret. Raises ConfigurationError, without a secret."""
    if not isinstance(secrets, str | Sequence) or isinstance(secrets, bytes):
        raise ConfigurationError(
            f"{owner}: the secret is a {type(secrets).__name__}: must be a text, or a list of texts"
        )
    texts = [secrets] if isinstance(secrets, str) else list(secrets)
    if not texts:
        raise ConfigurationError(f"{owner}: it has no secret. Generate one with `openssl rand`")
    digests = []
    for text in texts:
        if not isinstance(text, str) or len(text) < MIN_SECRET:
            raise ConfigurationError(
                f"{owner}: a secret is too short: it must have {MIN_SECRET} characters or more. "
                "Generate one with `openssl rand -hex 32`"
            )
        # No client could send it.
        if not (text.isascii() and text.isprintable()) or text != text.strip():
            raise ConfigurationError(
                f"{owner}: a secret has a character that is not printable ASCII, or a space at an "
                "end. Remove it, such as the line end of a file"
            )
        hashed = _DIGEST.fullmatch(text)
        if text.startswith("sha256:") and not hashed:
            raise ConfigurationError(
                f"{owner}: a secret begins with 'sha256:' and has no digest of 64 hex digits. "
                "Compute it with `sha256sum`"
            )
        digests.append(
            bytes.fromhex(hashed[1]) if hashed else hashlib.sha256(text.encode()).digest()
        )
    return digests
