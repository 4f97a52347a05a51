"""Judge one event by the contracts and readers that workers have registered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from celeriac.contract.lock import LockedReader
from celeriac.contract.normal_form import Schema
from celeriac.contract.schema_check import mismatch_of
from celeriac.contract.schema_uri import FIRST, version_of
from celeriac.contract.store import ContractStore, StoredContract
from celeriac.errors import ConfigurationError, InvalidData
from celeriac.event import RawEvent, is_encrypted
from celeriac.event.attributes import is_json
from celeriac.unreadable import UNREADABLE


class Fit(StrEnum):
    """Whether a reader accepts an event."""

    READS = "reads"
    UPCASTS = "upcasts"  # its upcasters are not available here: only its own workers run them
    UNCHECKED = "unchecked"  # a newer version whose data cannot be checked here
    NO_UPCASTER = "no upcaster"
    TOO_NEW = "too new"
    MISMATCH = "mismatch"


REFUSED = frozenset((Fit.NO_UPCASTER, Fit.TOO_NEW, Fit.MISMATCH))


@dataclass(frozen=True, slots=True)
class ReaderFit:
    """What one registered reader makes of an event.

    `reads` is the version that it reads; None if its code has no contract of the type. `is_checked`
    is True if the data was compared with the reader's schema.
    """

    version: int
    reads: int | None
    fit: Fit
    reason: str = ""
    is_checked: bool = False
    workers: int = 0

    @property
    def is_refused(self) -> bool:
        return self.fit in REFUSED


class RegisteredContracts:
    """The registry's contracts and readers at one time."""

    def __init__(
        self,
        contracts: Sequence[StoredContract],
        readers: Mapping[str, Mapping[str, LockedReader]],
    ) -> None:
        self._contracts = {(item.type, item.contract.version): item for item in contracts}
        self._readers = readers

    @classmethod
    def read(cls, store: ContractStore) -> RegisteredContracts:
        """Read the registry. Blocks for one round trip."""
        return cls(*store.contracts_and_readers())

    def newest(self, type_: str) -> int:
        """Return the newest registered version of the type; 1 if there is none."""
        return max((v for t, v in self._contracts if t == type_), default=FIRST)

    def is_known(self, type_: str) -> bool:
        """Return whether a version of the type is registered."""
        return any(known == type_ for known, _ in self._contracts)

    def readers_of(self, handler: str, running: Collection[str] = ()) -> Mapping[str, LockedReader]:
        """Return what the handler reads by digest: in running workers, else as last registered."""
        known = self._readers.get(handler, {})
        return {made: known[made] for made in running if made in known} or known

    def check_edited(self, handler: str, event: RawEvent, before: RawEvent) -> None:
        """Check an edited event against its contract, and against what the handler reads.

        Unknown fields that the event had `before` the edit are accepted, as readers do.

        Raises InvalidData, without any value; ConfigurationError if jsonschema is not installed.
        """
        if not _is_readable(event):
            return
        version = version_of(event.dataschema, event.type)
        stored = self._contracts.get((event.type, version))
        if stored is not None:
            had = _data(before) if _is_readable(before) else None
            schema, what = stored.contract.schema, "checking edited data"
            reason = mismatch_of(_data(event), schema, what, extra="edit", had=had)
            if reason:
                raise InvalidData(
                    f"the edited data does not match version {version} of {event.type}, which "
                    f"{stored.service} registered: {reason}. Correct it, or set dataschema to the "
                    "version of the data."
                )
        fits = [fit_of(reads, event) for reads in self.readers_of(handler).values()]
        if fits and all(fit.is_refused for fit in fits):
            raise InvalidData(
                f"{handler} cannot read the edited data: {fits[-1].reason}. Correct it, or deploy "
                "a worker that reads it."
            )


def fit_of(
    reads: LockedReader, event: RawEvent, *, has_data: bool = True, workers: int = 0
) -> ReaderFit:
    """Return whether a registered reader accepts the event.

    `has_data` is False for a described event whose data is not given. `workers` is copied.
    """
    reads = reads.of(event.type)
    version = version_of(event.dataschema, event.type)
    target = reads.versions.get(event.type)
    if target is not None and version < target:
        if version in reads.upcasts.get(event.type, ()):
            return ReaderFit(version, target, Fit.UPCASTS, workers=workers)
        missing = f"no upcaster leads from version {version} to {target}, which it reads"
        return ReaderFit(version, target, Fit.NO_UPCASTER, missing, workers=workers)
    reason = _mismatch(event, reads.schema) if has_data else None
    is_newer = version > (target or FIRST)
    if reason:
        fit = Fit.TOO_NEW if is_newer else Fit.MISMATCH
    else:
        fit = Fit.UNCHECKED if is_newer and reason is None else Fit.READS
    return ReaderFit(version, target, fit, reason or "", reason is not None, workers)


def _mismatch(event: RawEvent, schema: Schema) -> str | None:
    """Return why the data does not match; None if it cannot be checked here."""
    if not schema:  # it reads any data
        return ""
    if not _is_readable(event):
        return None
    try:
        return mismatch_of(_data(event), schema, "checking data")
    except UNREADABLE:
        return "data: cannot be read, such as a number out of range"
    except ConfigurationError:  # jsonschema is not installed, or the schema is invalid
        return None


def _is_readable(event: RawEvent) -> bool:
    is_text = is_json(event.datacontenttype) and not isinstance(event.data, bytes)
    return is_text and not is_encrypted(event)


def _data(event: RawEvent) -> Any:
    return None if event.data is None else msgspec.json.decode(event.data)
