"""The checks that a handler's code makes before it runs: `when=`, signature and key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celeriac.contract import read_data
from celeriac.errors import CeleriacError, ContractTooNew, InvalidData
from celeriac.event import RawEvent, is_encrypted
from celeriac.handler import Handler
from celeriac.handler.event_filter import given_when
from celeriac.registry import HandlerRecord
from celeriac.security import EventSecurity


@dataclass(frozen=True, slots=True)
class CodeResults:
    """The results of these checks: True, the reason for a rejection, or None if not applicable."""

    when: bool | str | None = None
    signature: bool | str | None = None
    key: bool | str | None = None
    data: bool | str | None = None
    contract: bool | str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the results as fields of Facts."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Code:
    """The code of a handler, with the keys of its service."""

    handler: Handler
    guard: EventSecurity

    def record(self) -> HandlerRecord:
        """Return the record that a worker would register, without subscribed domains."""
        handler = self.handler
        return HandlerRecord(
            id=handler.id,
            service=handler.service,
            patterns=handler.patterns,
            queue=handler.queue,
            flow_control=handler.flow_control,
            concurrency=handler.concurrency,
            per_second=handler.per_second,
            when=handler.has_filter,
            options=handler.describe_options(),
            doc=handler.doc,
        )

    def judge(self, body: bytes, event: RawEvent) -> CodeResults:
        """Run the checks that the executor makes before the handler.

        Runs `when=`, but not the handler.
        """
        signature: bool | str | None = None
        if self.handler.signed:
            signature = _reason(lambda: self.guard.verify(body, event, event.domain))
        key: bool | str | None = None
        if is_encrypted(event):
            try:
                event, key = self.guard.decrypt(event), True
            except CeleriacError as error:
                return CodeResults(signature=signature, key=str(error))
        try:
            read_data(event, self.handler.data_type_of(event.type))
        except ContractTooNew as error:
            return CodeResults(signature=signature, key=key, contract=str(error))
        except InvalidData as error:
            return CodeResults(signature=signature, key=key, data=str(error))
        return CodeResults(self._when(event), signature, key, data=True)

    def _when(self, event: RawEvent) -> bool | str | None:
        when = given_when(self.handler.when)  # tenants and share are separate checks
        if when is None:
            return None
        try:
            return bool(when(read_data(event, self.handler.data_type)))
        except CeleriacError as error:
            return str(error)
        except Exception as error:
            # The message can hold data.
            return f"when= raised {type(error).__name__}"


def _reason(check: Callable[[], None]) -> bool | str:
    try:
        check()
    except CeleriacError as error:
        return str(error)
    return True
