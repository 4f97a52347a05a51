"""The tables of outbox, inbox, processes and keys. Their columns are those of the tables for
SQLAlchemy."""

from __future__ import annotations

from typing import Any

from django.db import models

from celeriac.event.attributes import MAX_LENGTH
from celeriac.event.identity import MAX_KEY_LENGTH, SOURCE_LENGTH
from celeriac.flow_control import MAX_KEY_BYTES
from celeriac.process.definition import MAX_NAME
from celeriac.security.subject_key import MAX_SUBJECT


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


class InstanceKeyField(models.CharField):
    """The key of a process's instance, compared byte by byte."""

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        parameters: dict[str, Any] = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["type"] = f"varbinary({MAX_KEY_BYTES})"
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


class ProcessRow(models.Model):
    """An instance of a process."""

    id = models.BigAutoField(primary_key=True)
    handler = NameField(max_length=MAX_LENGTH)
    instance_key = InstanceKeyField(max_length=MAX_KEY_BYTES)
    status = models.CharField(max_length=16)
    state = models.TextField()
    version = models.IntegerField()
    seq = models.BigIntegerField()
    timers = models.TextField()
    undo_events = models.TextField()
    reason = models.TextField()
    sensitive_paths = models.TextField()
    started_ms = models.BigIntegerField()
    updated_ms = models.BigIntegerField()
    expires_ms = models.BigIntegerField(null=True, db_index=True)

    class Meta:
        db_table = "celeriac_process"
        constraints = (
            models.UniqueConstraint(fields=("handler", "instance_key"), name="celeriac_process_id"),
        )
        indexes = (
            models.Index(fields=("status", "started_ms"), name="celeriac_process_status"),
            models.Index(
                fields=("handler", "status", "started_ms"), name="celeriac_process_handler"
            ),
        )


class TimerRow(models.Model):
    """A timer of an instance, with the event that its expiry emits."""

    id = models.BigAutoField(primary_key=True)
    handler = NameField(max_length=MAX_LENGTH)
    instance_key = InstanceKeyField(max_length=MAX_KEY_BYTES)
    name = NameField(max_length=MAX_NAME)
    event_id = models.CharField(max_length=MAX_LENGTH, db_index=True)
    at_ms = models.BigIntegerField(db_index=True)
    domain = models.CharField(max_length=MAX_LENGTH)
    body = models.BinaryField()

    class Meta:
        db_table = "celeriac_timer"
        constraints = (
            models.UniqueConstraint(
                fields=("handler", "instance_key", "name"), name="celeriac_timer_id"
            ),
        )


class ProcessStepRow(models.Model):
    """What one event changed in an instance."""

    id = models.BigAutoField(primary_key=True)
    handler = NameField(max_length=MAX_LENGTH)
    instance_key = InstanceKeyField(max_length=MAX_KEY_BYTES)
    seq = models.BigIntegerField()
    at_ms = models.BigIntegerField()
    event_id = NameField(max_length=MAX_LENGTH)
    event_type = NameField(max_length=MAX_LENGTH)
    detail = models.TextField()

    class Meta:
        db_table = "celeriac_process_step"
        constraints = (
            models.UniqueConstraint(
                fields=("handler", "instance_key", "seq"), name="celeriac_process_step_id"
            ),
        )


class SubjectKeyRow(models.Model):
    """The key of a subject, wrapped by the master key; NULL after the erasure."""

    digest = models.CharField(max_length=64, primary_key=True)
    subject = models.CharField(max_length=MAX_SUBJECT)
    key_id = models.CharField(max_length=64, unique=True)
    wrapped = models.BinaryField(max_length=64, null=True)
    created_ms = models.BigIntegerField()
    erased_ms = models.BigIntegerField(null=True)
    erased_by = models.CharField(max_length=255, null=True)
    reason = models.CharField(max_length=1000, null=True)

    class Meta:
        db_table = "celeriac_subject_keys"
