"""Called in the process of `celery … flower`, before Flower is made: see cli/plugin.py."""

from __future__ import annotations

import logging
import os

from celeriac.errors import ConfigurationError
from celeriac.extra import needing

SWITCH = "CELERIAC_FLOWER"


def put_into_flower() -> None:
    """Installs our pages. `CELERIAC_FLOWER=off` leaves Flower as it is, its choice of address
    included. Where they cannot be installed Flower goes on without them, and the log says why.
    """
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "no"):
        return
    try:
        with needing("flower", "`celery … flower`"):
            from celeriac.flower.install import install

        install()
    except ConfigurationError as error:
        logging.getLogger(__name__).warning("no pages of events in Flower: %s", error)
