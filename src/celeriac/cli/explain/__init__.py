from celeriac.cli.explain.command import explain

__all__ = ["explain"]
