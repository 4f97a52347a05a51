"""celeriac relay"""

from __future__ import annotations

import logging
import signal

import click

from celeriac.cli.outbox.choice import database_options, faults_in_one_line, open_chosen
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import count
from celeriac.cli.terminal import echo
from celeriac.outbox.relay import Relay

logger = logging.getLogger(__name__)


@click.command()
@database_options
@click.option("--once", is_flag=True, help="Publishes what waits, and ends.")
@pass_session
def relay(session: Session, database: str | None, django: bool, once: bool) -> None:
    """Publishes what was committed into an outbox.

    Any number may run on one database: one of them publishes, the others stand by. A worker
    whose CELERIAC_OUTBOX_URL is set has a relay of its own. SIGTERM and SIGINT stop it.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    chosen, settings = open_chosen(session.settings, database, django)
    one = Relay(chosen, settings)
    if once:
        with faults_in_one_line():
            echo(f"{count(one.drain(), 'event')} published")
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: one.stop())
    logger.info("celeriac: relaying the outbox of %s", chosen.name)
    one.run()
    logger.info("celeriac: the relay ends; it published %s", count(one.published, "event"))
