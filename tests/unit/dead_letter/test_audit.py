"""Lines of the audit log that other programs wrote."""

from __future__ import annotations

import pytest

from celeriac.dead_letter.audit import Note


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"redriven by hand", "redriven by hand"),
        ("redriven by hand", "redriven by hand"),
        (b"\xff", "\ufffd"),
        (b"[" * 10_000, "[" * 10_000),
    ],
    ids=["text", "str", "not UTF-8", "deep"],
)
def test_a_line_that_is_no_note_is_shown_as_it_is(raw: bytes | str, what: str) -> None:
    assert Note(actor="", did="", what=what, via="") == Note.decode(raw)


def test_a_note_is_read_as_it_was_written() -> None:
    note = Note(actor="ann", did="redrive", what="1-0", via="flower", reason="fixed")
    assert note == Note.decode(note.encode())
