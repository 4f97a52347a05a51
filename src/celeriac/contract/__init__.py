"""Contracts: the data of an event type in each of its versions."""

from celeriac.contract.declared import contract, unchanged, upcast
from celeriac.contract.reading import read_data
from celeriac.contract.schema_uri import schema_uri
from celeriac.contract.versions import VERSIONS, Contract, Versions, check_readable
from celeriac.contract.writing import written_as

__all__ = [
    "VERSIONS",
    "Contract",
    "Versions",
    "check_readable",
    "contract",
    "read_data",
    "schema_uri",
    "unchanged",
    "upcast",
    "written_as",
]
