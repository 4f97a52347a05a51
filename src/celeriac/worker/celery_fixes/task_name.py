"""Refuse a handler and a task of the app with the same name, whichever is defined first.

Celery (5.5 to 5.7) keeps the first task of a name and ignores the second definition, whose function
is then never called; 5.7 logs a warning. No public API exposes the second definition, so this wraps
`Celery._task_from_fun`, which `app.task` and `shared_task` call. The wrapper can be removed when
Celery refuses the second definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery

from celeriac.errors import SubscriptionError
from celeriac.handler import Handler
from celeriac.handler.signature import qualified_name


def refuse_taken_names(app: Celery) -> None:
    """Make the app refuse a handler and a task of the same name (SubscriptionError). Idempotent."""
    # On the instance, not the class: other apps of the process must not change.
    if "_task_from_fun" in vars(app):
        return
    private: Any = app
    create: Callable[..., Any] = private._task_from_fun

    def task_from_fun(function: Any, name: str | None = None, **options: Any) -> Any:
        name = name or app.gen_task_name(function.__name__, function.__module__)
        # Not `app.tasks`, which would finalize the app.
        existing = private._tasks.get(name)
        if existing is not None and "abandon" in options and not _is_handler(existing):
            raise _taken_by_task(app, name)
        if existing is not None and "abandon" not in options and _is_handler(existing):
            raise SubscriptionError(
                f"@app.task for {function.__module__}.{qualified_name(function)}: the handler "
                f"{name} has that name, and Celery would run it instead of the task. Give the "
                "task another name with @app.task(name='...'), or the handler with "
                "@bus.on(..., name='...')"
            )
        return create(function, name=name, **options)

    private._task_from_fun = task_from_fun


def check_task(app: Celery, handler: Handler) -> None:
    """Raise SubscriptionError if a task has replaced the handler, as `app.register_task` does.

    Finalizes the app.
    """
    if not _is_handler(app.tasks.get(handler.id)):
        raise _taken_by_task(app, handler.id)


def _is_handler(task: Any) -> bool:
    return hasattr(task, "abandon")


def _taken_by_task(app: Celery, name: str) -> SubscriptionError:
    return SubscriptionError(
        f"@bus.on for {name}: the Celery app {app.main!r} has a task of that name, and Celery "
        "would run it instead of the handler. Give the handler another name with "
        "@bus.on(..., name='...'), or the task with @app.task(name='...')"
    )
