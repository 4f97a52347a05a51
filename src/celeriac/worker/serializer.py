"""The serializer of delivery tasks: one that the app's workers accept."""

from __future__ import annotations

from typing import Any, cast

from celery import Celery
from kombu.exceptions import EncodeError, SerializerNotInstalled
from kombu.serialization import dumps, registry

from celeriac.errors import ConfigurationError


def delivery_serializer(app: Celery) -> str:
    """Return JSON where the app accepts it, else its `task_serializer`, else one it accepts.

    Raises ConfigurationError if `accept_content` names no usable serializer: every worker would
    discard the delivery tasks, and no handler would ever run.
    """
    names = app.conf.accept_content
    if names is None:
        return "json"
    # A name that kombu does not have is ignored here; Celery reports it.
    kinds: dict[str, str] = registry.name_to_type
    accepted = {kinds.get(name, name) for name in names}
    others = sorted(registry.type_to_name.get(kind, "") for kind in accepted)
    for name in ("json", app.conf.task_serializer, *others):
        if kinds.get(name) in accepted and _works(name):
            return str(name)
    raise ConfigurationError(
        f"accept_content has no serializer for celeriac's tasks: {list(names)!r}. "
        "Add 'json' to accept_content of the Celery app."
    )


def _works(name: str) -> bool:
    try:
        cast("Any", dumps)([[], {"domain": "", "events": ""}, {}], serializer=name)
    except (SerializerNotInstalled, EncodeError, ImportError):
        return False
    return True
