"""`celeriac relay`"""

from __future__ import annotations

import logging

import click

from celeriac.cli.foreground import log_to_stderr, stop_on_signals
from celeriac.cli.outbox.choice import database_options, faults_in_one_line, open_chosen
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import count
from celeriac.cli.terminal import echo
from celeriac.outbox.relay import Relay

logger = logging.getLogger(__name__)


@click.command()
@database_options
@click.option("--once", is_flag=True, help="Publish the waiting events and exit.")
@pass_session
def relay(session: Session, database: str | None, django: bool, once: bool) -> None:
    """Publish the events that were committed into an outbox.

    Any number can run on one database: one publishes, the others are on standby. A worker with
    CELERIAC_OUTBOX_URL has its own relay. SIGTERM and SIGINT stop it.
    """
    log_to_stderr()
    chosen, settings = open_chosen(session.settings, database, django)
    instance = Relay(chosen, settings)
    if once:
        with faults_in_one_line():
            echo(f"{count(instance.drain(), 'event')} published")
        return
    stop_on_signals(instance.stop)
    logger.info("celeriac: relaying the outbox of %s", chosen.name)
    instance.run()
    logger.info("celeriac: relay stopped, published %s", count(instance.published, "event"))
