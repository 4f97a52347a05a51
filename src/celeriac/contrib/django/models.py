"""The tables of outbox and inbox. The columns are those of the tables for SQLAlchemy."""

from __future__ import annotations

from typing import Any

from django.db import models

from celeriac.event.attributes import MAX_LENGTH
from celeriac.event.identity import MAX_KEY_LENGTH, SOURCE_LENGTH


class EventKeyField(models.CharField):
    """An event key, compared byte by byte.

    Ids that differ in case or trailing spaces are different, but equal in MySQL's default
    collation.
    """

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        parameters: dict[str, Any] = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["type"] = f"varbinary({4 * MAX_LENGTH + SOURCE_LENGTH})"
        return parameters

    def from_db_value(self, value: Any, expression: object, connection: object) -> Any:
        return value.decode() if isinstance(value, bytes) else value


class NameField(models.CharField):
    """Case-sensitive text, also on MySQL."""

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        parameters: dict[str, Any] = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


class OutboxRow(models.Model):
    """An event that waits for a relay, in the order of the ids."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=255)
    domain = models.CharField(max_length=255)
    body = models.BinaryField()
    at_ms = models.BigIntegerField(null=True)
    created_ms = models.BigIntegerField()
    failed_ms = models.BigIntegerField(null=True)
    error = models.TextField(null=True)

    class Meta:
        db_table = "celeriac_outbox"


class InboxRow(models.Model):
    """A record that a handler has processed an event."""

    id = models.BigAutoField(primary_key=True)
    event_key = EventKeyField(max_length=MAX_KEY_LENGTH)
    handler = NameField(max_length=255)
    domain = NameField(max_length=255)
    at_ms = models.BigIntegerField(db_index=True)

    class Meta:
        db_table = "celeriac_inbox"
        constraints = (
            models.UniqueConstraint(
                fields=("event_key", "handler", "domain"), name="celeriac_inbox_once"
            ),
        )
