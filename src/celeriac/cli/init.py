"""`celeriac init`"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from celeriac.cli.group import CommandError
from celeriac.cli.terminal import echo
from celeriac.scaffold import Form, ServiceName, next_steps, write_project


@click.command()
@click.argument("name")
@click.option(
    "--form",
    type=click.Choice([form.value for form in Form]),
    default=Form.PLAIN.value,
    show_default=True,
    help="Framework of the service, besides Celery.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="Folder in which to create the folder NAME.",
)
def init(name: str, form: str, directory: Path) -> None:
    """Create a service: code, tests, Docker Compose file and CI workflow.

    NAME is the name of the service and of its Python package, for example order-intake. Files are
    created in DIRECTORY/NAME. Existing files are not overwritten. Needs no Redis.
    """
    project = directory / name
    service = ServiceName.parse(name, project)
    try:
        files = write_project(Form(form), service, project)
    except OSError as error:
        raise CommandError(f"cannot write {error.filename}: {error.strerror}.") from None
    echo(f"Created {len(files)} files in {project}.\n")
    _print_next_steps(Form(form), service, project)


def _print_next_steps(form: Form, service: ServiceName, project: Path) -> None:
    steps = next_steps(form, service)
    _print_block(
        "Install the service and run its tests:",
        f"cd {shlex.quote(str(project))}",
        *steps.install,
        steps.test,
    )
    _print_block(
        "Run each of these in a terminal of its own, after `. .venv/bin/activate`.\n"
        "For another Redis or Valkey, set CELERIAC_REDIS_URL instead of the first:",
        *steps.run,
    )
    _print_block(
        "Emit an event, and look up the id that the command prints:",
        steps.emit,
        "celeriac status EVENT_ID",
    )
    echo("README.md explains the files.")


def _print_block(title: str, *commands: str) -> None:
    echo(title)
    echo()
    for command in commands:
        echo(f"  {command}")
    echo()
