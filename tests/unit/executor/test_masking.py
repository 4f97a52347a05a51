"""What a handler raises is recorded and logged without the sensitive values of its event."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest
from celery.utils.serialization import get_pickleable_exception

from celeriac import Event, Reject, Retry
from celeriac.errors import SubjectKeysUnavailable
from celeriac.event import RawEvent, decode
from celeriac.executor.error_text import trace
from celeriac.executor.masking import MaskedError, masked_error
from tests.unit.executor.conftest import Bench

CARD = "4111111111111111"


def as_it_is(event: RawEvent) -> RawEvent:
    return event


def decline(event: Event[dict[str, Any]]) -> None:
    try:
        raise KeyError(event.data["card"])
    except KeyError as error:
        raise ValueError(f"{event.data['card']} was declined") from error


def said(bench: Bench, caplog: pytest.LogCaptureFixture) -> str:
    """All that is kept and logged of the failure."""
    (letter,) = bench.store.deliveries.dead("order")
    failures = bench.store.deliveries.failures(bench.group, "a")
    records = [logging.Formatter().format(record) for record in caplog.records]
    return "\n".join([letter.error, letter.traceback, *(f.error for f in failures), *records])


def test_the_value_is_in_no_record_and_no_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.subscribe(decline, retries=0)
    bench.bus.emit("order.placed", {"card": CARD}, id="a", sensitive=["card"])
    report = bench.execute()
    assert "ValueError: *** was declined" in said(bench, caplog)
    assert "KeyError: '***'" in said(bench, caplog)  # its cause, in the traceback
    assert CARD not in said(bench, caplog)
    (failure,) = report.failures
    assert str(failure.error) == "*** was declined"
    assert type(failure.error).__name__ == "ValueError"
    # the dead letter keeps the event as it was, to be redriven
    assert CARD.encode() in bench.store.deliveries.dead("order")[0].event


def test_a_name_of_the_setting_will_do(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    object.__setattr__(bench.bus.settings, "sensitive", "number, Card")
    bench.subscribe(decline, retries=0)
    bench.bus.emit("order.placed", {"card": CARD}, id="a")
    bench.execute()
    assert CARD not in said(bench, caplog)


def test_without_anything_sensitive_the_error_is_what_was_raised(bench: Bench) -> None:
    bench.subscribe(decline, retries=0)
    bench.bus.emit("order.placed", {"card": CARD}, id="a")
    (failure,) = bench.execute().failures
    assert type(failure.error) is ValueError and CARD in str(failure.error)
    assert CARD in bench.store.deliveries.dead("order")[0].traceback


def test_an_error_that_does_not_hold_the_value_is_what_was_raised(bench: Bench) -> None:
    def handle(event: Event) -> None:
        raise ValueError("declined")

    bench.subscribe(handle, retries=0)
    bench.bus.emit("order.placed", {"card": CARD}, id="a", sensitive=["card"])
    (failure,) = bench.execute().failures
    assert type(failure.error) is ValueError


def test_the_values_of_a_whole_batch_are_taken_out_of_each_of_its_failures(bench: Bench) -> None:
    def handle(events: list[Event[dict[str, Any]]]) -> None:
        raise ValueError(f"none of {[event.data['card'] for event in events]}")

    bench.subscribe(handle, retries=0, batch=10)
    for n in range(3):
        bench.bus.emit("order.placed", {"card": f"{CARD}{n}"}, sensitive=["card"])
    bench.execute()
    errors = {letter.error for letter in bench.store.deliveries.dead("order")}
    assert errors == {"ValueError: none of ['***', '***', '***']"}


def test_what_a_filter_raises_is_masked_too(bench: Bench) -> None:
    def when(event: Event) -> bool:
        raise ValueError(f"{event.data['card']}?")

    bench.subscribe(decline, retries=0, when=when)
    bench.bus.emit("order.placed", {"card": CARD}, id="a", sensitive=["card"])
    bench.execute()
    assert bench.store.deliveries.dead("order")[0].error == "ValueError: ***?"


BODY = (
    b'{"specversion":"1.0","id":"1","source":"s","type":"a","sensitive":"card",'
    b'"data":{"card":"4111111111111111"}}'
)


def test_control_flow_stays_what_it_is() -> None:
    retry = masked_error(Retry(f"{CARD} later", after=3.0), [BODY], frozenset(), as_it_is)
    assert isinstance(retry, Retry) and (str(retry), retry.after) == ("*** later", 3.0)
    reject = masked_error(Reject(CARD), [BODY], frozenset(), as_it_is)
    assert isinstance(reject, Reject) and reject.reason == "***"


def test_celery_sends_its_name_and_text_to_the_main_process() -> None:
    error = masked_error(ValueError(f"no {CARD}"), [BODY], frozenset(), as_it_is)
    assert isinstance(error, MaskedError)
    sent = pickle.loads(pickle.dumps(get_pickleable_exception(error)))
    assert "ValueError" in str(sent) and "no ***" in str(sent)


def test_a_body_that_is_no_event_and_an_error_without_text_do_no_harm() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    error = Silent()
    assert masked_error(error, [None, b'"sensitive"', BODY], frozenset({"x"}), as_it_is) is error


def test_data_that_cannot_be_decrypted_now_hides_the_text() -> None:
    def opened(event: RawEvent) -> RawEvent:
        raise SubjectKeysUnavailable("away")

    encrypted = BODY.replace(b'"sensitive":"card"', b'"datacontenttype":"application/jose+json"')
    error = masked_error(ValueError(CARD), [encrypted], frozenset(), opened)
    assert str(error) == "the text is not shown: the data cannot be decrypted now"
    assert type(error).__name__ == "ValueError"


@pytest.mark.parametrize(
    ("body", "names", "shown"),
    [
        (BODY, frozenset(), "no *** nor 4111"),
        (BODY.replace(b',"sensitive":"card"', b""), frozenset(), f"no {CARD} nor 4111"),
        (BODY.replace(b',"sensitive":"card"', b""), frozenset({"card"}), "no *** nor 4111"),
        (BODY.replace(b'"card"', b'"other"', 1), frozenset(), f"no {CARD} nor 4111"),
        (b'{"sensitive"', frozenset(), f"no {CARD} nor 4111"),
        (None, frozenset({"card"}), f"no {CARD} nor 4111"),
    ],
)
def test_which_values_are_removed(body: bytes, names: frozenset[str], shown: str) -> None:
    assert str(masked_error(ValueError(f"no {CARD} nor 4111"), [body], names, as_it_is)) == shown


def test_an_invalid_event_does_not_show_the_values_of_the_next() -> None:
    bodies = [None, b'{"sensitive"', b'{"data":1}', BODY]
    assert str(masked_error(ValueError(CARD), bodies, frozenset(), as_it_is)) == "***"


def test_a_value_that_contains_another_is_removed_as_a_whole() -> None:
    bodies = [BODY.replace(CARD.encode(), card) for card in (b"secret", b"secretly")]
    error = masked_error(ValueError("secretly and secret"), bodies, frozenset(), as_it_is)
    assert str(error) == "*** and ***"


@pytest.mark.parametrize("sensitive", [b"", b'"sensitive":"other",'])
def test_all_values_of_an_encrypted_event_are_sensitive(sensitive: bytes) -> None:
    decrypted = decode(BODY.replace(b',"sensitive":"card"', b""))
    jose = b'"datacontenttype":"application/jose+json"'
    encrypted = BODY.replace(b'"sensitive":"card"', sensitive + jose)
    error = masked_error(ValueError(CARD), [encrypted], frozenset(), lambda event: decrypted)
    assert str(error) == "***"


def test_a_masked_error_has_the_place_and_class_of_the_original() -> None:
    class Declined(Exception):
        pass

    try:
        raise Declined(CARD)
    except Declined as error:
        masked = masked_error(error, [BODY], frozenset(), as_it_is)
        assert masked.__traceback__ is error.__traceback__
    assert (type(masked).__qualname__, type(masked).__module__) == (
        Declined.__qualname__, Declined.__module__,
    )  # fmt: skip
    assert CARD not in trace(masked) and "test_masking.py" in trace(masked)


def test_a_value_only_in_the_traceback_is_removed_too() -> None:
    try:
        raise KeyError(CARD)
    except KeyError as cause:
        error = ValueError("declined")
        error.__cause__ = cause
    masked = masked_error(error, [BODY], frozenset(), as_it_is)
    assert masked is not error
    assert (str(masked), CARD in trace(masked)) == ("declined", False)
