"""`celeriac archive`"""

from __future__ import annotations

import logging

import click

from celeriac.cli.foreground import log_to_stderr, stop_on_signals
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import count
from celeriac.cli.terminal import echo
from celeriac.cli.time_param import DURATION
from celeriac.extra import needing

logger = logging.getLogger(__name__)


@click.command()
@click.option(
    "--to", "url", required=True, metavar="URL", help="s3://…, gs://…, az://… or file:///…"
)
@click.option(
    "-A", "--app", "module", metavar="MODULE", help="Use the settings of this module's EventBus."
)
@click.option("--name", default="events", show_default=True, help="The handler is archive.NAME.")
@click.option(
    "--interval",
    type=DURATION,
    metavar="DURATION",
    default=300.0,
    help="How long an event waits at most for its file. [5m]",
)
@click.option(
    "--max-events",
    type=click.IntRange(1),
    default=50_000,
    show_default=True,
    help="Events in one file.",
)
@click.option(
    "--start",
    type=click.Choice(["beginning", "now"]),
    default="beginning",
    show_default=True,
    help="Where a new archive begins.",
)
@click.option("--once", is_flag=True, help="Store the waiting events and exit.")
@pass_session
def archive(
    session: Session,
    url: str,
    module: str | None,
    name: str,
    interval: float,
    max_events: int,
    start: str,
    once: bool,
) -> None:
    """Store all events in Parquet files, by domain and day.

    It is the handler archive.NAME: events stay in the log until they are stored. SIGTERM and SIGINT
    stop it.
    """
    with needing("archive", "celeriac archive"):
        from celeriac.archive.archiver import ArchiveOptions, Archiver
        from celeriac.archive.parquet import FileLimits
        from celeriac.archive.storage import Storage
    log_to_stderr()
    options = ArchiveOptions(
        name=name,
        interval=interval,
        limits=FileLimits(events=max_events),
        start="now" if start == "now" else "beginning",
    )
    if module is not None:
        session = _session_of(module)
    archiver = Archiver(session.backend, session.settings, Storage(url), options)
    stop_on_signals(archiver.stop)
    if once:
        echo(f"{count(archiver.drain(), 'event')} stored in {url}")
        return
    logger.info("celeriac: %s stores events in %s", archiver.handler.id, url)
    archiver.run()
    logger.info(
        "celeriac: %s stopped, stored %s", archiver.handler.id, count(archiver.stored, "event")
    )


def _session_of(module: str) -> Session:
    from celeriac.cli.dispatcher import find_bus

    bus = find_bus(module)
    return Session(bus.settings, bus.service.backend)
