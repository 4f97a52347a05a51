from celeriac.cli.contracts.commands import contracts

__all__ = ["contracts"]
