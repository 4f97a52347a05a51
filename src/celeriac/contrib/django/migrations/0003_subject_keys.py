from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("celeriac", "0002_processes")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="SubjectKeyRow",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("subject", models.CharField(max_length=255)),
                ("key_id", models.CharField(max_length=64, unique=True)),
                ("wrapped", models.BinaryField(max_length=64, null=True)),
                ("created_ms", models.BigIntegerField()),
                ("erased_ms", models.BigIntegerField(null=True)),
                ("erased_by", models.CharField(max_length=255, null=True)),
                ("reason", models.CharField(max_length=1000, null=True)),
            ],
            options={"db_table": "celeriac_subject_keys"},
        ),
    ]
