"""Files of the package are UTF-8, whatever encoding the process prefers."""

from __future__ import annotations

import os
import subprocess
import sys

READ = """
from celeriac.store.redis import circuits, deliveries, event_log
from celeriac.flower.templates import *
from celeriac.flower import templates
import locale
assert locale.getpreferredencoding(False).lower().replace("-", "") not in ("utf8",), "no test then"
"""


def test_scripts_and_templates_are_read_in_an_ascii_locale() -> None:
    env = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", READ], env=env, capture_output=True, text=True, timeout=60
    )
    assert 0 == done.returncode, done.stderr
