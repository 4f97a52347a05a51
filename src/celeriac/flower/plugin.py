"""Whether this process is Flower; if so, it gets our pages before it is made.

Every celery process calls `install_if_flower`, so nothing is imported before it is sure.
"""

from __future__ import annotations

import logging
import os
import sys

SWITCH = "CELERIAC_FLOWER"


def install_if_flower() -> None:
    """Installs our pages in the process of `celery … flower`; elsewhere nothing happens.

    `CELERIAC_FLOWER=off` leaves Flower as it is, its choice of address included. Where our pages
    cannot be installed Flower goes on without them, and the log says why.
    """
    if "flower" not in sys.argv[1:] or os.environ.get(SWITCH, "").lower() in ("off", "0", "no"):
        return
    from celeriac.errors import ConfigurationError

    try:
        from celeriac.flower.install import install

        install()
    except (ImportError, ConfigurationError) as error:
        # An ImportError: Flower itself will say so, if it is the one that is missing.
        logging.getLogger(__name__).warning("no pages of events in Flower: %s", error)
