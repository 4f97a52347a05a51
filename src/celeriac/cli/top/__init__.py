from celeriac.cli.top.command import top

__all__ = ["top"]
