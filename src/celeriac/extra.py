"""Optional packages, and the error that names the extra to install."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from celeriac.errors import ConfigurationError

# Extra → the name of its package for messages.
EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "flower": "Flower",
        "sqlalchemy": "SQLAlchemy",
        "django": "Django",
        "postgres": "psycopg",
        "signing": "cryptography",
        "prometheus": "prometheus_client",
        "otel": "OpenTelemetry",
        "edit": "jsonpatch and jsonschema",
        "alerts": "Apprise",
        "contracts": "jsoncompat and jsonschema",
        "cron": "cronsim",
        "push": "httpx",
        "archive": "pyarrow and obstore",
        "gateway": "Starlette and uvicorn",
        "dbos": "DBOS",
    }
)


def missing_extra(what: str, extra: str, error: ImportError | None = None) -> ConfigurationError:
    """Return the error for a feature, `what`, whose optional package cannot be imported."""
    reason = f" ({error})" if error is not None else ""
    return ConfigurationError(
        f"{what} needs {EXTRAS[extra]}, which cannot be imported{reason}. "
        f"Run: pip install 'celeriac[{extra}]'"
    )


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Replace an ImportError in the `with` block by a ConfigurationError that names the extra."""
    try:
        yield
    except ImportError as error:
        raise missing_extra(what, extra, error) from error
