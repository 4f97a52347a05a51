"""`--reveal`: show data without masking."""

from __future__ import annotations

import click
import msgspec

reveal_option = click.option(
    "--reveal", is_flag=True, help="Show sensitive values; they are masked without it."
)


def shown_data(data: object, max_length: int = 400) -> str:
    """Return data as one line of JSON of at most `max_length` characters."""
    if data is None:
        return ""
    if isinstance(data, (bytes, bytearray)):
        return f"{len(data)} bytes"
    encoded = bytes(data) if isinstance(data, msgspec.Raw) else msgspec.json.encode(data)
    text = encoded.decode(errors="replace")
    return (
        text
        if len(text) <= max_length
        else f"{text[:max_length]}… ({len(text)} characters; --json has all)"
    )
