"""Limits of a gateway: the size of a request, the time to read it, and requests at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from celeriac.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a gateway. A request beyond one is refused before an event is accepted.

    `max_body` and `max_requests` together limit the memory that requests need.

    Attributes:
        max_body: Bytes of one request. Default: the setting `max_event_bytes`. Refused with 413.
        max_batch: Events in one batch. Refused with 413.
        body_timeout: Seconds until the whole body must have arrived. Refused with 408.
        max_requests: Requests at once to one route, in one process. Each webhook is a route of its
            own. Refused with 503.
        max_token_requests: Those of one token. Default: all with one token, otherwise three
            quarters of `max_requests`, so that one client cannot take all. Refused with 429.
    """

    max_body: int = 0
    max_batch: int = 1000
    body_timeout: float = 10.0
    max_requests: int = 100
    max_token_requests: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and field.type == "int":
                is_number = isinstance(value, int)
            least = 0 if field.name in ("max_body", "max_token_requests") else 1e-3
            if not is_number or not least <= value < math.inf:
                kind = "a whole number" if field.type == "int" else "a number of seconds"
                raise ConfigurationError(
                    f"Limits({field.name}={value!r}): must be {kind}, finite and above 0"
                )

    def completed(self, max_event_bytes: int, tokens: int) -> Limits:
        """Return the limits with the defaults of a gateway with this number of tokens."""
        share = self.max_requests if tokens < 2 else math.ceil(self.max_requests * 0.75)
        return replace(
            self,
            max_body=self.max_body or max_event_bytes,
            max_token_requests=self.max_token_requests or share,
        )
