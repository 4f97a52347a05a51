"""Runs in the process of `celery … flower`, before Flower is created: see cli/plugin.py."""

from __future__ import annotations

import logging
import os

from celeriac.errors import ConfigurationError
from celeriac.extra import needing

SWITCH = "CELERIAC_FLOWER"


def put_into_flower() -> None:
    """Install our pages, unless `CELERIAC_FLOWER=off`.

    `off` leaves Flower unchanged, including its choice of address. If the pages cannot be
    installed, Flower runs without them and the log has the reason.
    """
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "no"):
        return
    try:
        with needing("flower", "`celery … flower`"):
            from celeriac.flower.install import install

        install()
    except ConfigurationError as error:
        logging.getLogger(__name__).warning("celeriac: no pages added to Flower: %s", error)
