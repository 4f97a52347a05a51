"""Cases after the conformance set of CloudEvents, in the forms that other producers write."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from celeriac.errors import InvalidEvent
from celeriac.event import decode, decode_data, encode, masked, read_header

MINIMAL = {"specversion": "1.0", "id": "1", "source": "/s", "type": "order.placed"}


def compact(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def spaced(members: dict[str, Any]) -> bytes:
    return json.dumps(members, indent=2).encode()


forms = pytest.mark.parametrize("form", [compact, spaced])


@forms
def test_the_minimal_event_is_valid(form: Any) -> None:
    event = decode(form(MINIMAL))
    assert (event.id, event.source, event.type, event.data) == ("1", "/s", "order.placed", None)


@forms
@pytest.mark.parametrize(
    "name",
    [
        *["subject", "time", "datacontenttype", "dataschema", "correlationid", "causationid"],
        *["partitionkey", "traceparent", "handlers", "extensions", "region", "data_base64"],
    ],
)
def test_null_counts_as_absent(form: Any, name: str) -> None:
    assert decode(form({**MINIMAL, name: None})) == decode(form(MINIMAL))


@forms
@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_a_required_attribute_that_is_missing_or_null_is_named(form: Any, name: str) -> None:
    without = {key: value for key, value in MINIMAL.items() if key != name}
    for members in (without, {**MINIMAL, name: None}):
        with pytest.raises(InvalidEvent, match=f"`{name}` is missing"):
            decode(form(members))


@forms
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", "0.3"),
        ("specversion", "1.1"),
        ("specversion", "other"),
        ("specversion", 1.0),
        ("id", ""),
        ("id", 1),
        ("id", "a\x00b"),
        ("id", "x" * 256),
        ("source", ""),
        ("source", {}),
        ("type", ""),
        ("type", "a b"),
        ("type", ["a"]),
        ("subject", ""),
        ("subject", 5),
        ("time", ""),
        ("time", 0),
        ("time", "2026-01-31"),
        ("time", "2026-01-31T12:00Z"),
        ("time", "2026-01-31T12:00:00"),
        ("time", "2026-01-31T12:00:00+01"),
        ("time", "2026-01-31T12:00:00+0100"),
        ("time", "2026-02-30T12:00:00Z"),
        ("time", "0001-01-01T00:00:00+10:00"),
        ("datacontenttype", "json"),
        ("datacontenttype", ""),
        ("datacontenttype", 1),
        ("dataschema", "order.json"),
        ("dataschema", ""),
        ("traceparent", "00-x"),
        ("correlationid", ""),
        ("causationid", 1),
        ("partitionkey", ""),
        ("handlers", ""),
        ("handlers", "charge"),
        ("handlers", ["a.b"]),
        ("handlers", []),
        ("data_base64", "%%%"),
        ("data_base64", "abc"),
        ("data_base64", "ä"),
        ("data_base64", 1),
        ("region", {}),
        ("region", 1.5),
        ("region", 2**31),
        ("region", "\x00"),
    ],
)
def test_a_bad_attribute_is_named(form: Any, name: str, value: Any) -> None:
    with pytest.raises(InvalidEvent, match=f"`{name}`"):
        decode(form({**MINIMAL, name: value}))


@pytest.mark.parametrize("name", ["Tenant", "my_attr", "my-attr", "", "ÄÖ"])
def test_an_attribute_with_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidEvent, match="lower-case ASCII"):
        decode(compact({**MINIMAL, name: "x"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31t12:00:00z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T12:00:00-00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.5Z", datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31T12:00:00.123456789Z", datetime(2026, 1, 31, 12, 0, 0, 123_457, tzinfo=UTC)),
    ],
)
def test_a_time_of_rfc_3339_is_read_as_utc(text: str, expected: datetime) -> None:
    time = decode(compact({**MINIMAL, "time": text})).time
    assert time == expected
    assert time is not None
    assert time.tzinfo is UTC


def test_unknown_attributes_survive_decoding_and_encoding() -> None:
    members = {**MINIMAL, "region": "t", "sampled": True, "hops": 3, "extensions": "e"}
    event = decode(compact(members))
    assert event.extensions == {"region": "t", "sampled": True, "hops": 3, "extensions": "e"}
    assert json.loads(encode(event)) == members


def test_handlers_are_read_from_one_string() -> None:
    assert decode(compact({**MINIMAL, "handlers": "a.b c.d"})).handlers == ("a.b", "c.d")


def test_data_and_data_base64_together_are_refused() -> None:
    values: list[Any] = [{}, None]
    for data in values:
        with pytest.raises(InvalidEvent, match="`data` and `data_base64`"):
            decode(compact({**MINIMAL, "data": data, "data_base64": "AA=="}))


@pytest.mark.parametrize(
    "member",
    [
        *['"id":"2"', '"source":"/s"', '"type":"b"', '"subject":"x"', '"specversion":"1.0"'],
        *['"id":""', '"\\u0069d":"2"', '"data":1', '"region":1'],
    ],
)
@pytest.mark.parametrize("time", ["", ',"time":"2026-01-31T12:00:00.5Z"'])
def test_an_attribute_that_is_there_twice_is_refused(member: str, time: str) -> None:
    head = compact(MINIMAL)[:-1].decode() + time
    once = f'{head},"subject":"s","data":0,{member}}}' if "region" not in member else ""
    twice = once or f"{head},{member},{member}}}"
    with pytest.raises(InvalidEvent, match="twice"):
        decode(twice.encode())


@forms
def test_the_names_of_attributes_may_be_used_inside_data(form: Any) -> None:
    data: Any = {"id": 1, "type": "a", "source": "\u00e9\\", "x": '"id"', "data": {"id": "huge"}}
    raw: bytes = form({**MINIMAL, "subject": "id", "data": [data]})
    event = decode(raw.replace(b'"huge"', b"1" * 5000))
    assert isinstance(event.data, msgspec.Raw)


@pytest.mark.parametrize(
    "raw",
    [
        *[b"", b"{}", b"[]", b"null", b'"x"', b"1", b"{", b"\xff", b"\xef\xbb\xbf{}", b"[" * 10**5],
        compact(MINIMAL) + b"{}",
        compact(MINIMAL)[:-1] + b',"data":' + b"[" * 10**5,
        compact(MINIMAL)[:-1] + b',"subject":"\xff"}',
        compact(MINIMAL)[:-1] + b',"x":"\\ud800"}',
        compact(MINIMAL)[:-1] + b',"x":1e999}',
        compact(MINIMAL)[:-1] + b',"x":NaN}',
    ],
)
def test_what_is_no_cloudevent_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode(raw)


HALF = r"nice \ud83d"  # what JSON.stringify makes of a text cut within a character


def test_half_a_character_in_the_data_is_read_as_a_replacement_character() -> None:
    """It is valid JSON, and other languages write it."""
    data = rf'{{"text":"{HALF}","\udc00":["\ud83d\ude00","\\ud83d","\ud83d\ud83d\ude00"]}}'
    raw = rf'{{"specversion":"1.0","id":"1","source":"s","type":"a","data":{data}}}'.encode()
    expected = {"text": "nice \ufffd", "\ufffd": ["\U0001f600", "\\ud83d", "\ufffd\U0001f600"]}
    assert decode_data(decode(raw), Any).data == expected
    assert masked(decode(raw)) == expected
    assert read_header(raw, "a").id == "1"


def test_half_a_character_in_an_attribute_is_named() -> None:
    raw = rf'{{"specversion":"1.0","id":"1","source":"s","type":"a","subject":"{HALF}"}}'.encode()
    for read_ in (decode, read_header):
        with pytest.raises(InvalidEvent, match="`subject` must not contain a lone surrogate"):
            read_(raw)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time", "2016-12-31T23:59:60Z"),
        ("time", "2020-01-01T00:00:00.123456789Z"),
        ("time", "2020-01-01t00:00:00-00:00"),
        ("datacontenttype", r'text/plain; name="a \"b\" c"'),
        ("traceparent", f"01-{'1' * 32}-{'2' * 16}-01-what-comes-later"),
        ("count", 5),
        ("flag", True),
        ("note", ""),
        ("subject", None),
    ],
)
def test_what_cloudevents_allows_is_read(name: str, value: Any) -> None:
    """CloudEvents 1.0.2, JSON format 2.2; RFC 3339, 5.6; RFC 2045, 5.1; W3C Trace Context, 3.2."""
    members = {"specversion": "1.0", "id": "1", "source": "s", "type": "a", name: value}
    decode(json.dumps(members).encode())
