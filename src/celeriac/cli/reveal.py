"""`--reveal`: data as it is. Without it what is sensitive is masked."""

from __future__ import annotations

import click
import msgspec

reveal_option = click.option(
    "--reveal", is_flag=True, help="With what is sensitive; masked without it."
)


def shown_data(data: object, most: int = 400) -> str:
    """Data for a line of text: JSON, cut where it is long."""
    if data is None:
        return ""
    if isinstance(data, (bytes, bytearray)):
        return f"{len(data)} bytes"
    encoded = bytes(data) if isinstance(data, msgspec.Raw) else msgspec.json.encode(data)
    text = encoded.decode(errors="replace")
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters; --json has all)"
