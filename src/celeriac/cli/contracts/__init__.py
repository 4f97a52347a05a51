# The second module adds its commands to those of the first.
from celeriac.cli.contracts.commands import contracts
from celeriac.cli.contracts.documents import asyncapi

__all__ = ["asyncapi", "contracts"]
