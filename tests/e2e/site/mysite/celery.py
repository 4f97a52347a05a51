"""As Celery's documentation has it, and the bus."""

from __future__ import annotations

import os

from celery import Celery

from celeriac import EventBus

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")

bus = EventBus(app)
