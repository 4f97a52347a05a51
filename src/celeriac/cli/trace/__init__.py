from celeriac.cli.trace.command import trace

__all__ = ["trace"]
