"""Django is set up once for a process, so its tests have processes of their own."""

from __future__ import annotations

import os

if "SITE_DATABASE" not in os.environ:
    collect_ignore = ["inside"]
