from typing import ClassVar

from django.db import migrations, models

from celeriac.contrib.django.models import InstanceKeyField, NameField


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("celeriac", "0001_initial")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="ProcessRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("handler", NameField(max_length=255)),
                ("instance_key", InstanceKeyField(max_length=120)),
                ("status", models.CharField(max_length=16)),
                ("state", models.TextField()),
                ("version", models.IntegerField()),
                ("seq", models.BigIntegerField()),
                ("timers", models.TextField()),
                ("undo_events", models.TextField()),
                ("reason", models.TextField()),
                ("sensitive_paths", models.TextField()),
                ("started_ms", models.BigIntegerField()),
                ("updated_ms", models.BigIntegerField()),
                ("expires_ms", models.BigIntegerField(db_index=True, null=True)),
            ],
            options={
                "db_table": "celeriac_process",
                "indexes": [
                    models.Index(fields=["status", "started_ms"], name="celeriac_process_status"),
                    models.Index(
                        fields=["handler", "status", "started_ms"], name="celeriac_process_handler"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("handler", "instance_key"), name="celeriac_process_id"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TimerRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("handler", NameField(max_length=255)),
                ("instance_key", InstanceKeyField(max_length=120)),
                ("name", NameField(max_length=100)),
                ("event_id", models.CharField(db_index=True, max_length=255)),
                ("at_ms", models.BigIntegerField(db_index=True)),
                ("domain", models.CharField(max_length=255)),
                ("body", models.BinaryField()),
            ],
            options={
                "db_table": "celeriac_timer",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("handler", "instance_key", "name"), name="celeriac_timer_id"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ProcessStepRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("handler", NameField(max_length=255)),
                ("instance_key", InstanceKeyField(max_length=120)),
                ("seq", models.BigIntegerField()),
                ("at_ms", models.BigIntegerField()),
                ("event_id", NameField(max_length=255)),
                ("event_type", NameField(max_length=255)),
                ("detail", models.TextField()),
            ],
            options={
                "db_table": "celeriac_process_step",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("handler", "instance_key", "seq"), name="celeriac_process_step_id"
                    )
                ],
            },
        ),
    ]
