"""Write the files of a new service, and overwrite none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from celeriac.errors import ConfigurationError
from celeriac.scaffold.form import Form
from celeriac.scaffold.name import ServiceName
from celeriac.scaffold.template import render


def write_project(form: Form, name: ServiceName, directory: Path) -> list[PurePosixPath]:
    """Create the service in `directory` and return the paths of its files, sorted.

    Creates missing directories. Raises ConfigurationError if a file exists, and OSError if one
    cannot be written. In both cases no file is left behind.
    """
    rendered = dict(sorted(render(form, name).items()))
    # lexists: writing through a broken link would create its target
    if existing := [str(path) for path in rendered if os.path.lexists(directory / path)]:
        raise ConfigurationError(
            f"files already exist in {directory}: {', '.join(existing)}. "
            "No file was written. Remove them, or choose another name or --directory."
        )
    _write(rendered, directory)
    return list(rendered)


def _write(rendered: Mapping[PurePosixPath, str], directory: Path) -> None:
    written: list[Path] = []
    try:
        for path, text in rendered.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8") as file:
                written.append(target)
                file.write(text)
    except OSError:
        for target in written:
            target.unlink(missing_ok=True)
        raise
