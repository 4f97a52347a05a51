"""The official test vectors of CloudEvents: structured, binary and batch mode, in JSON.

The scenarios of the conformance project, and the examples of the JSON format, which show most
events in structured and in binary mode.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import InvalidEvent
from celeriac.event import RawEvent, build_event, decode, decode_data, encode
from celeriac.event.http_message import BATCH, STRUCTURED, read_message

VECTORS = Path(__file__).parent / "cloudevents"
FEATURE = (VECTORS / "http-protocol-binding.feature").read_text()
FORMAT = (VECTORS / "json-format.md").read_text()
NOT_BASE64 = "... base64 encoded string ..."
CORE = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")


def scenarios() -> Iterator[tuple[str, str, str]]:
    """Return (name, content type, text) of each example of each scenario."""
    for part in FEATURE.split("Scenario Outline: ")[1:]:
        text, _, examples = part.partition("Examples:")
        name = text.partition("(")[0].strip()
        for row in re.findall(r"^\s*\|\s*(\S.*?)\s*\|\s*$", examples, re.M)[1:]:
            yield name, row, text.replace("<contentType>", row)


def message(text: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of an HTTP message, with or without a first line."""
    head, _, body = re.sub(r"^ {8}", "", text, flags=re.M).partition("\n\n")
    lines = [line.strip() for line in head.strip().splitlines() if ": " in line]
    return dict(line.split(": ", 1) for line in lines), body.strip().encode()


SCENARIOS = list(scenarios())


@pytest.mark.parametrize(("name", "content_type", "text"), SCENARIOS)
def test_a_scenario_of_the_conformance_project(name: str, content_type: str, text: str) -> None:
    request, expected = re.findall(r'"""\n(.*?)"""', text, re.S)
    (event,) = read_message(*message(request))
    table = dict(re.findall(r"^\s*\|\s*(\w+)\s*\|\s*(.*?)\s*\|\s*$", text, re.M))
    written = json.loads(encode(event))
    shown = {key: value for key, value in table.items() if key != "key"}
    assert shown == {key: written[key] for key in shown}
    assert json.loads(expected) == decode_data(event, Any).data


def test_there_are_scenarios_of_two_modes() -> None:
    assert {"Binary content mode", "Structured content mode"} == {one[0] for one in SCENARIOS}
    assert 4 == len(SCENARIOS)


# The text of each block of the page, without its language.
BLOCKS = [block.partition("\n")[2] for block in FORMAT.split("```")[1::2]]


def examples() -> list[Any]:
    """Return the examples in structured mode and in batches."""
    found = [json.loads(block) for block in BLOCKS if block.startswith(("{", "["))]
    return [block for block in found if isinstance(block, list) or "specversion" in block]


def readable(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event with base64 instead of the ellipsis in the text."""
    return event | ({"data_base64": "AAEC"} if event.get("data_base64") == NOT_BASE64 else {})


def parts(event: RawEvent) -> dict[str, Any]:
    """Return the event in a form common to both modes: extensions as text, data decoded."""
    data = event.data
    found = {name: getattr(event, name) for name in CORE}
    found["extensions"] = {name: str(value) for name, value in event.extensions.items()}
    if event.datacontenttype in (None, "application/json"):
        found["data"] = json.loads(bytes(data)) if data is not None else None
    else:
        found["data"] = bytes(data or b"")
    return found


EVENTS = [readable(one) for one in examples() if isinstance(one, dict)]
BATCHES = [[readable(one) for one in some] for some in examples() if isinstance(some, list)]


@pytest.mark.parametrize("event", EVENTS, ids=range(len(EVENTS)))
def test_an_example_in_structured_mode_has_all_its_attributes(event: dict[str, Any]) -> None:
    (read,) = read_message({"Content-Type": STRUCTURED}, json.dumps(event).encode())
    written = json.loads(encode(read))
    assert {key: value for key, value in event.items() if value is not None} == written
    assert decode(encode(read)) == read


def pairs() -> list[tuple[str, str]]:
    """Return each example in structured mode that is followed by the same event in binary mode."""
    both = itertools.pairwise(BLOCKS)
    return [pair for pair in both if "{" == pair[0][:1] and pair[1].startswith("ce-")]


PAIRS = pairs()


@pytest.mark.parametrize(("structured", "binary"), PAIRS, ids=range(len(PAIRS)))
def test_an_example_is_the_same_event_in_both_modes(structured: str, binary: str) -> None:
    event = readable(json.loads(structured))
    headers, body = message(binary)
    if "binary bytes" in body.decode():
        body = b"\x00\x01\x02"
    (one,) = read_message({"content-type": STRUCTURED}, json.dumps(event).encode())
    (other,) = read_message(headers, body)
    left, right = parts(one), parts(other)
    if event.get("datacontenttype") == "application/xml":
        # A JSON string in structured mode is the text in binary mode.
        left["data"] = json.loads(left["data"]).encode()
    if one.data is not None and one.datacontenttype is None:
        # Without a content type, binary mode leaves it to the reader.
        right["datacontenttype"] = left["datacontenttype"] = None
    assert left == right


def test_there_are_examples_of_each_mode() -> None:
    assert len(EVENTS) >= 6
    assert len(PAIRS) >= 5
    assert [2, 0] == [len(batch) for batch in BATCHES]


@pytest.mark.parametrize("batch", BATCHES, ids=len)
def test_an_example_of_a_batch_has_its_events_in_order(batch: list[dict[str, Any]]) -> None:
    content_type = f"{BATCH}; charset=UTF-8"
    read = read_message({"content-type": content_type}, json.dumps(batch).encode())
    assert batch == [json.loads(encode(event)) for event in read]


@pytest.mark.parametrize("data", [None, {"a": 1}, "text", b"\x00", [1.5]])
def test_what_is_encoded_is_valid_by_the_official_schema(data: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((VECTORS / "cloudevents.json").read_text())
    event = build_event(
        "order.placed", data, source="shop", subject="order/1", extensions={"region": "eu"}
    )
    jsonschema.Draft7Validator(schema).validate(json.loads(encode(event)))


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({"content-type": "application/cloudevents+avro"}, b"{}", "content type must be"),
        ({"content-type": f"{STRUCTURED}; charset=latin-1"}, b"{}", "UTF-8"),
        ({"content-type": BATCH}, b"{}", "JSON array"),
        ({"content-type": BATCH}, b'[{"specversion":"1.0"}]', "event 1 of the batch: `id`"),
        ({"content-type": "application/json"}, b"{}", "`specversion` is missing"),
        ({"content-type": "application/json", "ce-specversion": "1.0"}, b"{", "not JSON"),
        ({"ce-specversion": "1.0", "ce-data": "x"}, b"", "`data` is not an attribute in binary"),
        ({"ce-specversion": "1.0", "ce-id": "%ff"}, b"", "not UTF-8"),
    ],
)
def test_a_bad_message_is_refused(headers: dict[str, str], body: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent) as raised:
        read_message(headers, body)
    assert reason in str(raised.value)


def test_headers_are_unquoted_and_percent_decoded() -> None:
    headers = {
        "CE-SpecVersion": "1.0",
        "ce-id": "1",
        "ce-source": "/a%20b",
        "ce-type": "order.placed",
        "ce-subject": '"Euro \\"%E2%82%AC\\""',
    }
    (event,) = read_message(headers, b"")
    assert ("/a b", 'Euro "€"', None) == (event.source, event.subject, event.data)
