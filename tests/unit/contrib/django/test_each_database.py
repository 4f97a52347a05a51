"""Run the tests in `inside` in a Django process, on each kind of database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
INSIDE = Path(__file__).parent / "inside"


def test_outbox_and_inbox_of_a_django_site(database_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INSIDE)]
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.unit.contrib.django.inside.settings",
        "SITE_DATABASE": database_url,
        "SITE_OTHER": str(tmp_path / "other.sqlite"),
        # The other plugins of this environment take a second to import.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": "pytest_timeout",
    }
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
