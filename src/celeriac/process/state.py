"""The state of an instance as JSON, in a version of its contract."""

from __future__ import annotations

from typing import Any

import msgspec

from celeriac.contract import Contract, read_data, schema_uri
from celeriac.errors import Retry
from celeriac.event import Event, encode_data, sensitive_attribute


class NewerState(Retry):
    """The state was written by newer code. A worker with that code runs the delivery."""


class StateForm:
    """Reads and writes the state as the type `model`, which may be a contract."""

    def __init__(self, model: Any, contract: Contract | None, process: str) -> None:
        self.model = model
        self.version = contract.version if contract else 1
        self._type = contract.type if contract else f"{process}.state"
        self.sensitive = sensitive_attribute(model, model) or ""

    def new(self) -> Any:
        """Return the state of a new instance."""
        return self.model()

    def read(self, state: bytes, version: int, key: str) -> Any:
        """Return the stored state, after the upcasters of older versions.

        Raises InvalidData if it does not fit the type, and NewerState for a newer version, because
        older code would drop the fields that it does not have.
        """
        if version > self.version:
            raise NewerState(
                f"the state of {key} has version {version} of {self._type}; this worker reads "
                f"version {self.version}. Deploy the newer code"
            )
        uri = schema_uri(self._type, version)
        stored: Event[Any] = Event(
            id=key, source=self._type, type=self._type, dataschema=uri, data=msgspec.Raw(state)
        )
        return read_data(stored, self.model).data

    def write(self, state: Any, key: str) -> bytes:
        """Return the state as JSON. Raises InvalidData if it has no JSON form."""
        return encode_data(Event(id=key, source=self._type, type=self._type, data=state))
