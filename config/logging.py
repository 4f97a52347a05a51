"""The logs of Celery's commands: `key=value` lines, or the format in CELERIAC_LOG_FORMAT."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import Any

from celery.signals import setup_logging

from celeriac import Settings
from celeriac.worker.logs import formatter


def install(settings: Settings) -> None:
    """Configure the logs of Celery's commands, in place of Celery's own configuration."""
    settings = replace(
        settings,
        service=settings.service or "shop",
        log_format=settings.log_format or "keyvalue",
    )

    def configure(loglevel: int = logging.INFO, logfile: str | None = None, **_: Any) -> None:
        handler = logging.FileHandler(logfile) if logfile else logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter(settings))
        logging.basicConfig(level=min(loglevel, logging.INFO), handlers=[handler], force=True)

    setup_logging.connect(configure, weak=False)
