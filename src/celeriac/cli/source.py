"""`--source`: choose one of several events that have one id."""

from __future__ import annotations

import click

source_option = click.option("--source", help="Source of the event. [default: every source]")
