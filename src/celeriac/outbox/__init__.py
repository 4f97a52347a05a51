"""The outbox: events written in the caller's database transaction, and published by the relay
after its commit."""

from celeriac.outbox.table import create_outbox, outbox_table

__all__ = ["create_outbox", "outbox_table"]
