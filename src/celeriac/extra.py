"""Optional packages: what to install where one is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from celeriac.errors import ConfigurationError

# The extra → the package that people know it by.
EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "flower": "Flower",
        "sqlalchemy": "SQLAlchemy",
        "django": "Django",
        "postgres": "psycopg",
        "signing": "cryptography",
        "prometheus": "prometheus_client",
        "otel": "OpenTelemetry",
        "edit": "jsonpatch",
        "alerts": "Apprise",
        "contracts": "jsoncompat and jsonschema",
    }
)


def missing_extra(what: str, extra: str, error: ImportError | None = None) -> ConfigurationError:
    """Return the error for `what` needing a package that cannot be imported."""
    why = f" ({error})" if error is not None else ""
    return ConfigurationError(
        f"{what} needs {EXTRAS[extra]}, which cannot be imported{why}. "
        f"Run: pip install 'celeriac[{extra}]'"
    )


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Turn an ImportError of what is imported within into a ConfigurationError that names the
    extra to install."""
    try:
        yield
    except ImportError as error:
        raise missing_extra(what, extra, error) from error
