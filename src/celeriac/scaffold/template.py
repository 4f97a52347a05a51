"""Render the files of template/ for a new service."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from string import Template

from celeriac.scaffold.form import Form
from celeriac.scaffold.name import ServiceName
from celeriac.settings import VERSION

# With this suffix, no tool takes a template for the file that is made from it.
SUFFIX = ".tmpl"
# The folder that gets the name of the package.
PACKAGE = "package"
TEST_COMMANDS = {
    Form.PLAIN: "pytest",
    Form.FASTAPI: "pytest",
    Form.DJANGO: "python manage.py test",
}


def render(form: Form, name: ServiceName) -> dict[PurePosixPath, str]:
    """Return the text of each file of a new service, by its path in the project."""
    values = {
        "service": name.service,
        "package": name.package,
        "version": VERSION,
        "test": TEST_COMMANDS[form],
    }
    rendered: dict[PurePosixPath, str] = {}
    for folder in form.folders:
        root = files("celeriac.scaffold") / "template" / folder
        for path, file in _walk(root, PurePosixPath()):
            parts = [name.package if part == PACKAGE else part for part in path.parts]
            target = PurePosixPath(*parts).with_name(path.name.removesuffix(SUFFIX))
            rendered[target] = Template(file.read_text("utf-8")).substitute(values)
    return rendered


def _walk(folder: Traversable, at: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, at / entry.name)
        elif entry.name.endswith(SUFFIX):
            yield at / entry.name, entry
