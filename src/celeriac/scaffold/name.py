"""The name of a new service, and of its Python package."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from celeriac.errors import ConfigurationError

# Longer names would make lines of the created code too long.
MAX_LENGTH = 32
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*")
# The created project has a folder or a module of this name.
_RESERVED = frozenset({"conftest", "manage", "tests"})


@dataclass(frozen=True)
class ServiceName:
    """The name of a service: the first part of its handlers' ids, and the name of its queue."""

    service: str

    @property
    def package(self) -> str:
        """The name of the service as that of a Python package."""
        return self.service.replace("-", "_")

    @classmethod
    def parse(cls, text: str, directory: Path) -> ServiceName:
        """Return the name of a service whose project is in `directory`.

        Raises ConfigurationError if it is no valid name, or if another importable package has the
        same one. Imports nothing.
        """
        if not _NAME.fullmatch(text) or len(text) > MAX_LENGTH:
            raise ConfigurationError(
                f"the name of the service is invalid: {text!r}. Use at most {MAX_LENGTH} "
                f"lower-case letters, digits, - and _, beginning with a letter{_suggestion(text)}."
            )
        name = cls(text)
        if reason := _conflict(name.package, directory):
            raise ConfigurationError(
                f"the name of the service cannot be {text!r}: {reason}. Choose another, such as "
                f"{_shortened(text)}-service."
            )
        return name


def _suggestion(text: str) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", text).lower()
    proposed = re.sub(r"[^a-z0-9]+", "-", words).strip("-").lstrip("0123456789-")
    proposed = proposed[:MAX_LENGTH].rstrip("-")
    return f", such as {proposed}" if proposed else ", such as order-intake"


def _shortened(text: str) -> str:
    return text[: MAX_LENGTH - len("-service")].rstrip("-_")


def _conflict(package: str, directory: Path) -> str:
    """Return why the package cannot have this name, or an empty string."""
    if keyword.iskeyword(package) or package in _RESERVED:
        return "it is reserved"
    if package in sys.stdlib_module_names:
        return f"{package} is a module of Python"
    spec = find_spec(package)
    if spec is None:
        return ""
    locations = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    if all(Path(location).is_relative_to(directory.resolve()) for location in locations):
        return ""
    return f"{package} is an installed package ({locations[0]})"
