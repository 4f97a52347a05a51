"""Errors as text: on one line, of limited size, and always storable."""

from __future__ import annotations

import pytest

from celeriac.executor import error_text
from celeriac.executor.error_text import (
    LONGEST_ERROR,
    LONGEST_TRACEBACK,
    describe,
    from_their_code,
    is_trace_cut,
    message_of,
    storable,
    trace,
)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text", "message"),
    [
        (ValueError("a\n  b"), "ValueError: a b", "a b"),
        (ValueError(), "ValueError", ""),
        (Mute(), "Mute: (its message cannot be shown)", "(its message cannot be shown)"),
        (ValueError("x" * 9999), "ValueError: " + "x" * 488, "x" * LONGEST_ERROR),
        (ValueError("ä" * 9999), "ValueError: " + "ä" * 244, "ä" * 250),
        (ValueError("x" + "ä" * 9999), "ValueError: x" + "ä" * 243, "x" + "ä" * 249),
    ],
)
def test_an_error_is_one_line_of_limited_size(error: Exception, text: str, message: str) -> None:
    assert describe(error) == text
    assert message_of(error) == message


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_traceback_is_its_end() -> None:
    short = trace(raised(ValueError("no")))
    assert short.startswith("Traceback") and short.endswith("ValueError: no\n")
    assert not is_trace_cut(short)
    long = trace(raised(ValueError("x" * 30_000)))
    assert long == "x" * (LONGEST_TRACEBACK - 1) + "\n"
    assert is_trace_cut(long)


@pytest.mark.parametrize(
    ("size", "is_cut"),
    [(LONGEST_TRACEBACK - 4, False), (LONGEST_TRACEBACK - 3, True), (LONGEST_TRACEBACK, True)],
)
def test_a_cut_may_have_removed_a_part_of_a_character(size: int, is_cut: bool) -> None:
    assert is_trace_cut("x" * size) is is_cut
    assert is_trace_cut("ä" * (size // 2) + "x" * (size % 2)) is is_cut


def test_a_masked_traceback_is_shown_instead() -> None:
    error = ValueError("secret")
    error.masked_trace = "***"  # type: ignore[attr-defined]
    assert trace(error) == "***"


def test_characters_that_cannot_be_encoded_are_escaped() -> None:
    assert storable("ä\udcff") == "ä\\udcff"


def theirs() -> None:
    raise ValueError


@pytest.mark.parametrize("is_ours", [False, True])
def test_a_traceback_begins_in_the_code_of_the_handler(
    monkeypatch: pytest.MonkeyPatch, is_ours: bool
) -> None:
    """If all of the code is ours, it begins there."""
    ours = __file__ if is_ours else error_text.__file__
    monkeypatch.setattr(error_text, "OURS", ours)
    try:
        theirs()
    except ValueError as error:
        before = error.__traceback__
        assert from_their_code(error) is error
        assert error.__traceback__ is before is not None


def test_frames_of_ours_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_text, "OURS", __file__)
    try:
        pytest.fail("no")
    except BaseException as error:
        from_their_code(error)
        frame = error.__traceback__
        assert frame is not None and frame.tb_frame.f_code.co_filename != __file__
