from celeriac.cli.outbox.commands import outbox

__all__ = ["outbox"]
