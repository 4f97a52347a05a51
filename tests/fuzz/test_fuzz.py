"""External input, fuzzed: event decoder, signatures, masking, patterns, delivery tasks, commands.

`CELERIAC_FUZZ_EXAMPLES` is the number of examples of each (200: some seconds in all), for a nightly
run with many more.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from functools import cache
from typing import Any

import msgspec
from celery.exceptions import InvalidTaskError
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import InvalidEvent, SubscriptionError
from celeriac.cli.root import main
from celeriac.cli.session import Session
from celeriac.event import (
    compile_patterns,
    decode,
    encode,
    masked,
    masked_envelope,
    read_header,
    sensitive_values,
)
from celeriac.event.signature import split
from celeriac.settings import Settings
from celeriac.testing.store import Store
from celeriac.worker.delivery_task import check_message, read_pairs

fuzzed = settings(max_examples=int(os.environ.get("CELERIAC_FUZZ_EXAMPLES", "200")))

MEMBERS = (
    "specversion", "id", "source", "type", "subject", "time", "data", "data_base64", "handlers",
    "datacontenttype", "dataschema", "sensitive", "keyid", "signature", "redriven", "partitionkey",
    "correlationid", "causationid", "traceparent", "tenant", "Bad", "é",
)  # fmt: skip
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
likely = st.sampled_from(
    ["1.0", "a.b", "order", "2026-01-31T12:00:00Z", "application/json", "card", "**.a,*", ".",
     "b.c", "b.c d.e", "https://x.y/z", "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "x" * 300]
)  # fmt: skip
envelopes = st.dictionaries(st.sampled_from(MEMBERS), likely | anything, max_size=12).map(
    lambda members: json.dumps(
        {"specversion": "1.0", "id": "1", "source": "s", "type": "a", **members}
    )
)


@fuzzed
@given(st.binary(max_size=200) | envelopes.map(str.encode))
def test_any_bytes_are_an_event_or_refused(raw: bytes) -> None:
    """Decoder and peek agree, what is read can be written and shown, and nothing else is raised."""
    split(raw)
    masked_envelope(raw, {"card"})
    try:
        event = decode(raw)
    except InvalidEvent:
        return
    assert (read_header(raw).id, read_header(raw).type, read_header(raw).handlers) == (
        event.id,
        event.type,
        event.handlers,
    )
    assert decode(encode(event)) == event
    msgspec.json.encode(masked(event, {"card"}))
    sensitive_values(event, {"card"})


@fuzzed
@given(envelopes.map(str.encode), st.data())
def test_an_event_with_a_byte_changed_is_an_event_or_refused(raw: bytes, data: Any) -> None:
    place = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:place] + data.draw(st.binary(max_size=3)) + raw[place + 1 :]
    with contextlib.suppress(InvalidEvent):
        decode(changed)
    with contextlib.suppress(InvalidEvent):
        read_header(changed)


def naive(pattern: list[str], type_: list[str]) -> bool:
    """The definition of AMQP, word for word."""

    @cache
    def reaches(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(type_)
        if pattern[i] == "#":
            return any(reaches(i + 1, k) for k in range(j, len(type_) + 1))
        return j < len(type_) and pattern[i] in ("*", type_[j]) and reaches(i + 1, j + 1)

    return reaches(0, 0)


segments = st.sampled_from(["a", "b", "ab", "-", "_"])


@fuzzed
@given(st.lists(segments | st.sampled_from(["*", "#"]), min_size=1, max_size=8),
       st.lists(segments, min_size=1, max_size=8))  # fmt: skip
def test_a_pattern_matches_as_in_amqp(pattern: list[str], type_: list[str]) -> None:
    assert compile_patterns(".".join(pattern)).matches(".".join(type_)) == naive(pattern, type_)


@fuzzed
@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        matcher = compile_patterns(text)
    except SubscriptionError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_.*#-]+", text)
    matcher.matches(text)


@fuzzed
@given(anything, anything, anything)
def test_any_message_is_a_task_or_refused(args: Any, kwargs: Any, embedded: Any) -> None:
    try:
        check_message(args, kwargs, embedded)
        pairs = read_pairs(kwargs["domain"], kwargs["events"])
    except InvalidTaskError:
        return
    assert pairs


words = st.sampled_from(
    ["status", "events", "lag", "dead", "list", "show", "redrive", "discard", "emit", "handlers",
     "remove", "workers", "replay", "keys", "acl", "--json", "--limit", "--type", "--since",
     "--all", "--handler", "--service", "--id", "--subject", "--error", "order/1-0", "order.placed",
     "-1", "2h"]
)  # fmt: skip


@settings(max_examples=fuzzed.max_examples // 2)
@given(st.lists(words | st.text(max_size=12).filter(lambda t: "@" not in t), max_size=5))
def test_any_words_are_a_command_or_wrong_usage(given: list[str]) -> None:
    """The command line ends with one of its exit codes, and never with a traceback."""
    settings = Settings.load({}, source="test")
    session = Session(settings, Store(settings).backend)
    answer = CliRunner().invoke(main, given, obj=session, input="n\n")
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    assert answer.exit_code in (0, 1, 2, 3, 4)
