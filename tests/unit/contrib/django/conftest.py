"""Django can be set up once per process, so its tests run in separate processes."""

from __future__ import annotations

import os

if "SITE_DATABASE" not in os.environ:
    collect_ignore = ["inside"]
