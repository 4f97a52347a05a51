"""The app's configuration: hooks and discovery when Django is ready."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

from celeriac import transaction
from celeriac.contrib.django.fork import leave_connections
from celeriac.contrib.django.joining import find
from celeriac.fork import after_fork_in_child

DISCOVERED = ("events", "handlers")


class CeleriacConfig(AppConfig):
    name = "celeriac.contrib.django"
    label = "celeriac"
    verbose_name = "celeriac"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        transaction.find = find
        after_fork_in_child(leave_connections)
        autodiscover_modules(*DISCOVERED)
