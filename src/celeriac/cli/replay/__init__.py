from celeriac.cli.replay.command import replay

__all__ = ["replay"]
