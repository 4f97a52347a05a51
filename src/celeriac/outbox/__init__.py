"""The outbox: events written in the caller's database transaction, and the relay that publishes
them once it is committed."""

from celeriac.outbox.table import create_outbox, outbox_table

__all__ = ["create_outbox", "outbox_table"]
