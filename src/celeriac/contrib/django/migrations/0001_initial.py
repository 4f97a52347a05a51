from typing import ClassVar

from django.db import migrations, models

from celeriac.contrib.django.models import EventKeyField, NameField


class Migration(migrations.Migration):
    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar = [
        migrations.CreateModel(
            name="OutboxRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.CharField(max_length=255)),
                ("domain", models.CharField(max_length=255)),
                ("body", models.BinaryField()),
                ("at_ms", models.BigIntegerField(null=True)),
                ("created_ms", models.BigIntegerField()),
                ("failed_ms", models.BigIntegerField(null=True)),
                ("error", models.TextField(null=True)),
            ],
            options={"db_table": "celeriac_outbox"},
        ),
        migrations.CreateModel(
            name="InboxRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_key", EventKeyField(max_length=263)),
                ("handler", NameField(max_length=255)),
                ("domain", NameField(max_length=255)),
                ("at_ms", models.BigIntegerField(db_index=True)),
            ],
            options={
                "db_table": "celeriac_inbox",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("event_key", "handler", "domain"), name="celeriac_inbox_once"
                    )
                ],
            },
        ),
    ]
