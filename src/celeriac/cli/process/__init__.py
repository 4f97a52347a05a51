from celeriac.cli.process.commands import process

__all__ = ["process"]
