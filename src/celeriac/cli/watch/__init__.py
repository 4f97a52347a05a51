from celeriac.cli.watch.command import watch

__all__ = ["watch"]
