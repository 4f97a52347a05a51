"""An endpoint of a customer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.event import Event
from celeriac.push.signature import Secrets

# A callable is called for each request.
HeaderValue = str | Callable[[], str]

_ID = re.compile(r"[A-Za-z0-9_.~-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a customer receives webhooks. Its repr contains neither the URL nor a secret.

    Attributes:
        id: Permanent name, of at most 64 letters, digits, `_`, `.`, `~` and `-`. It is the
            `partitionkey` of its deliveries, and part of their ids.
        url: Begins with `https://` or `http://`.
        secrets: `whsec_…`, one or several; while you rotate a secret, the new and the old one.
        headers: Further headers. A value is a str, or a callable that returns one.
    """

    id: str
    url: str = field(repr=False)
    secrets: Secrets = field(default=(), repr=False)
    headers: Mapping[str, HeaderValue] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise ConfigurationError(
                f"Endpoint(id={self.id!r}): must have 1 to 64 letters, digits, _ . ~ and - only"
            )


# Returns the endpoints that want the event.
FindEndpoints = Callable[[Event[Any]], "Sequence[Endpoint] | Awaitable[Sequence[Endpoint]]"]
