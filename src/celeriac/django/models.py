"""The tables of outbox and inbox. The columns are those of the tables for SQLAlchemy."""

from __future__ import annotations

from django.db import models


class OutboxRow(models.Model):
    """An event that waits for a relay, in the order of the ids."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=255)
    domain = models.CharField(max_length=255)
    body = models.BinaryField()
    at_ms = models.BigIntegerField(null=True)
    created_ms = models.BigIntegerField()
    parked_ms = models.BigIntegerField(null=True)
    error = models.TextField(null=True)

    class Meta:
        db_table = "celeriac_outbox"


class InboxRow(models.Model):
    """A handler has handled an event."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=255)
    handler = models.CharField(max_length=255)
    domain = models.CharField(max_length=255)
    at_ms = models.BigIntegerField(db_index=True)

    class Meta:
        db_table = "celeriac_inbox"
        constraints = (
            models.UniqueConstraint(
                fields=("event_id", "handler", "domain"), name="celeriac_inbox_once"
            ),
        )
