"""`celeriac top`"""

from __future__ import annotations

import sys
import time

import click
import msgspec

from celeriac.cli.json_output import print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import console
from celeriac.cli.top.screen import still
from celeriac.cli.top.view import View, Watch
from celeriac.cli.top.view_options import SORTS, ViewOptions
from celeriac.store.redis.connection import address

NO_TERMINAL = 160  # columns, if the output is not a terminal


@click.command()
@click.option("--once", is_flag=True, help="Print one frame. [default without a terminal]")
@click.option("--json", "as_json", is_flag=True, help="Print one frame as a JSON document.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 60), default=1.0, show_default=True,
    help="Seconds between two readings.",
)  # fmt: skip
@click.option("--sort", type=click.Choice(list(SORTS)), default="lag", show_default=True)
@click.option(
    "--filter", "wanted", default="", metavar="TEXT", help="Handlers whose name contains the text."
)
@pass_session
def top(
    session: Session, once: bool, as_json: bool, interval: float, sort: str, wanted: str
) -> None:
    """Show what every handler does now: rates, lag, failures, circuits.

    Keys: q quit, s next sort order, / filter, space pause, arrows scroll, ? help.
    """
    watch = Watch(session.backend)
    options = ViewOptions(sort=sort, filter=wanted, url=address(session.settings.redis_url))
    if not (once or as_json) and sys.stdin.isatty() and sys.stdout.isatty():
        from celeriac.cli.top.live import run

        watch.view()  # if Redis is unreachable at the start, the command fails like the others
        run(watch, options, interval)
        return
    view = _rated_view(watch, interval)
    if as_json:
        print_json({**msgspec.structs.asdict(view), "handlers": options.chosen(view)})
        return
    out = console()
    out.print(still(view, options, out.width if out.is_terminal else NO_TERMINAL))


def _rated_view(watch: Watch, interval: float) -> View:
    """Return a frame with live rates, which needs two readings."""
    watch.view()
    time.sleep(interval)
    return watch.view()
