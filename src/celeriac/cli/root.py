"""The command `celeriac`: its options, its commands and its exit codes."""

from __future__ import annotations

import click

from celeriac.cli.group import Commands
from celeriac.cli.session import Session
from celeriac.settings import VERSION, Settings

EXIT_CODES = """\b
Exit codes:
  0  done
  1  not found, declined by you, or failed; doctor: a check failed
  2  wrong usage or settings
  3  status: a handler is missing the event
  4  Redis is unreachable or full
"""


@click.group(
    cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(VERSION, prog_name="celeriac", message="%(prog)s %(version)s")
@click.option(
    "--redis-url", metavar="URL", help="Redis that stores the events. [CELERIAC_REDIS_URL]"
)
@click.option("--namespace", metavar="NAME", help="Prefix of its keys. [CELERIAC_NAMESPACE]")
@click.pass_context
def main(ctx: click.Context, redis_url: str | None, namespace: str | None) -> None:
    """Inspect and operate an event bus."""
    if ctx.obj is None:
        ctx.obj = Session(Settings.load(redis_url=redis_url, namespace=namespace))
