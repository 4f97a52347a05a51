"""What stands between a claimed event and its handler: is it to be trusted, can it be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from celeriac.event import RawEvent
from celeriac.executor.masking import masked_error
from celeriac.subscription import Handler
from celeriac.trust import Guard


@dataclass(frozen=True, slots=True)
class Admission:
    """For one chunk: the events are of the log of `domain`."""

    guard: Guard
    domain: str
    sensitive: frozenset[str] = frozenset()

    def admit(self, handler: Handler, body: bytes, event: RawEvent) -> RawEvent:
        """The event as the handler may have it, its data still JSON.

        Raises UntrustedEvent before any code of the handler runs and any of its data is read.
        """
        if handler.signed:
            self.guard.verify(body, event, self.domain)
        return event

    def shown(self, error: BaseException, bodies: Iterable[bytes | None]) -> BaseException:
        """The error without the sensitive values of these events."""
        return masked_error(error, bodies, self.sensitive)
