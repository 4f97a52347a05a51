"""What the answers of an endpoint mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from celeriac import PushFailed, Reject
from celeriac.event import RawEvent, build_event, decode, encode
from celeriac.push.answer import (
    MAX_BODY,
    MAX_REASON,
    MAX_RETRY_AFTER,
    Answer,
    Gone,
    check_answer,
    retry_after,
    shown_body,
)

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def event(data: Any = None, sensitive: str | None = None) -> RawEvent:
    return decode(encode(build_event("order.placed", data, source="shop", sensitive=sensitive)))


def outcome(answer: Answer) -> str:
    try:
        check_answer(answer, "http://search", event(), frozenset(), NOW)
    except (PushFailed, Reject) as error:
        return type(error).__name__
    return "processed"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_success_is_processed(status: int) -> None:
    assert outcome(Answer(status)) == "processed"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 501, 502, 503, 504, 599])
def test_answers_that_may_pass_are_retried(status: int) -> None:
    assert outcome(Answer(status)) == "PushFailed"


@pytest.mark.parametrize(
    "status", [300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 413, 415, 422, 451, 600]
)
def test_every_other_answer_is_dead_at_once(status: int) -> None:
    assert outcome(Answer(status)) == "Reject"


def test_410_is_dead_and_distinct() -> None:
    assert outcome(Answer(410)) == "Gone"
    assert issubclass(Gone, Reject)


def test_a_redirect_names_the_remedy_and_not_its_target() -> None:
    with pytest.raises(Reject, match=r"redirects are not followed\. Set the URL"):
        check_answer(
            Answer(302, body=b"http://internal"), "http://search", event(), frozenset(), NOW
        )


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("999999999", MAX_RETRY_AFTER),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=9000), usegmt=True), MAX_RETRY_AFTER),
        ("Friday, 27-Nov-26 12:01:00 GMT", 60.0),
        ("Fri Nov 27 12:01:00 2026", 60.0),
        ("Fri, 27 Nov 2026 13:01:00 +0100", 60.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 5000, None),
        ("Fri, 99 Nov 2026 12:00:00 GMT", None),
        ("\x00", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


def test_a_failure_has_the_time_that_the_endpoint_named() -> None:
    with pytest.raises(PushFailed) as raised:
        check_answer(Answer(503, "7", b"busy"), "http://search", event(), frozenset(), NOW)
    assert raised.value.after == 7.0
    assert str(raised.value) == "http://search: HTTP 503: busy"


def test_the_reason_is_one_line_without_control_characters() -> None:
    body = "no\r\nsuch\x1b[2J order \u202e \ud83d".encode(errors="replace") + b"\xff\x00"
    with pytest.raises(Reject) as raised:
        check_answer(Answer(422, body=body), "http://search", event(), frozenset(), NOW)
    reason = raised.value.reason
    assert reason.isprintable(), ascii(reason)
    assert reason.startswith("http://search: HTTP 422: no such␛[2J order")


def test_a_long_body_is_cut() -> None:
    shown = shown_body(Answer(400, body=b"x" * MAX_BODY, is_cut=True), event(), frozenset())
    assert shown == "x" * MAX_REASON + "…"


def test_sensitive_values_are_masked() -> None:
    sent = event({"card": "4111 1111", "n": 1, "iban": "DE77"}, sensitive="card")
    body = b'{"error":"4111 1111 is refused, DE77"}'
    assert shown_body(Answer(400, body=body), sent, {"iban"}) == '{"error":"*** is refused, ***"}'


def test_the_cut_shows_no_part_of_a_value() -> None:
    """A part of a value is not recognised as sensitive."""
    sent = event({"card": "secret-" + "4" * 100})
    body = b"x" * (MAX_BODY - 50) + b"secret-" + b"4" * 43
    assert "secret" not in shown_body(Answer(400, body=body, is_cut=True), sent, frozenset())
    body = b"x" * (MAX_REASON - 50) + b"secret-" + b"4" * 43
    assert "secret" not in shown_body(Answer(400, body=body, is_cut=True), sent, frozenset())


def test_a_long_body_of_an_event_with_a_long_value_is_not_shown() -> None:
    sent = event({"text": "t" * 5000})
    assert (
        shown_body(Answer(400, body=b"t" * MAX_BODY, is_cut=True), sent, frozenset())
        == "(a long body)"
    )
