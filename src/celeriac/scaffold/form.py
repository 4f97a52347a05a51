"""The forms of a new service."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    """Which framework a new service uses, besides Celery."""

    PLAIN = "plain"
    FASTAPI = "fastapi"
    DJANGO = "django"

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of template/ that its files come from. No two have the same file."""
        return _FOLDERS[self]


_FOLDERS = {
    Form.PLAIN: ("common", "service", "plain"),
    Form.FASTAPI: ("common", "service", "fastapi"),
    Form.DJANGO: ("common", "django"),
}
