"""What stands between a claimed event and its handler: is it to be trusted, can it be opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from celeriac.errors import EncryptionError, UntrustedEvent
from celeriac.event import RawEvent, is_encrypted
from celeriac.executor.masking import masked_error
from celeriac.handler import Handler
from celeriac.security import EventSecurity


@dataclass(frozen=True, slots=True)
class Admission:
    """For one chunk: the events are of the log of `domain`. `verified` has entries whose events
    were verified as ones of a source and type."""

    guard: EventSecurity
    domain: str
    sensitive: frozenset[str] = frozenset()
    verified: dict[str, tuple[str, str]] = field(default_factory=dict)

    def admit(self, handler: Handler, entry: str, body: bytes, event: RawEvent) -> RawEvent:
        """The event as the handler may have it, its data still JSON.

        Raises UntrustedEvent, or EncryptionError for what is encrypted for others, before any code
        of the handler runs and any of its data is read.
        """
        if handler.signed and self.verified.get(entry) != (event.source, event.type):
            self.guard.verify(body, event, self.domain)
        return self.guard.decrypt(event) if is_encrypted(event) else event

    def shown(self, error: BaseException, bodies: Iterable[bytes | None]) -> BaseException:
        """The error without the sensitive values of these events. Of an event that came encrypted
        all values are, since the text of the error lies in Redis in plain."""
        if isinstance(error, (UntrustedEvent, EncryptionError)):
            # they tell nothing of the data, and nothing is opened for them
            return error
        return masked_error(error, bodies, self.sensitive, self.guard.decrypt)
