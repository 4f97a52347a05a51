from celeriac.cli.dead.commands import dead

__all__ = ["dead"]
