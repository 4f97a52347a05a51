"""Adding bootsteps to a Celery app."""

from __future__ import annotations

from typing import Any, Literal

from celery import Celery

from celeriac.service import Service


def add_step(
    app: Celery,
    blueprint: Literal["worker", "consumer"],
    step: type[Any],
    service: Service,
    label: str,
    /,
    **attributes: Any,
) -> None:
    """Add a step of one service, named `celeriac.LABEL.SERVICE`, to every worker of the app.

    Celery makes the object of a step, so it gets the attributes as those of a class of its own.
    """
    named = service.settings.service
    members = {"name": f"celeriac.{label}.{named}", **attributes}
    steps: Any = app.steps
    steps[blueprint].add(type(f"{step.__name__}_{named}", (step,), members))
