"""`--source`: which of the events that have one id."""

from __future__ import annotations

import click

source_option = click.option(
    "--source", help="Only the event of this source. [default: of every source]"
)
