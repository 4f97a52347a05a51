"""Verdicts on pairs of a writer and a reader, against brute force and by example."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac import Event
from celeriac.contract import contract, upcast
from celeriac.contract.change import changes
from celeriac.contract.example import examples
from celeriac.contract.judgement import HandlerReader, Writer, judge_pair, within
from celeriac.contract.lock import LockedReader, locked_contract, locked_reader
from celeriac.contract.normal_form import digest
from celeriac.contract.schema import read_schema, written_schema
from celeriac.contract.versions import VERSIONS
from celeriac.event.data_decoder import DataMismatch, decoder_for
from celeriac.handler import make_handler

pytest.importorskip("jsoncompat")


def writer(model: Any, version: int = 1, type_: str = "order.placed") -> Writer:
    schema = written_schema(model)
    return Writer(type_, version, schema, digest(schema), "code")


def foreign(model: Any, **more: Any) -> HandlerReader:
    """Return a reader whose code is not available."""
    reads = LockedReader(patterns=("order.*",), schema=read_schema(model), **more)
    return HandlerReader("billing.charge", "billing", "lock of billing", reads)


def own(model: Any, **more: Any) -> HandlerReader:
    reads = LockedReader(patterns=("order.*",), schema=read_schema(model), **more)
    return HandlerReader("billing.charge", "billing", "code", reads, lambda _: model, True)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class MoreColours(enum.Enum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


KINDS: dict[str, Any] = {
    "int": int,
    "small": Annotated[int, msgspec.Meta(ge=0, le=100)],
    "float": float,
    "str": str,
    "short": Annotated[str, msgspec.Meta(max_length=3)],
    "bool": bool,
    "maybe": int | None,
    "date": datetime.datetime,
    "uuid": uuid.UUID,
    "colour": Colour,
    "colours": MoreColours,
    "list": list[int],
    "texts": list[str],
    "map": dict[str, int],
    "any": Any,
}
FIELDS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.tuples(st.sampled_from(sorted(KINDS)), st.booleans())
)


def struct(fields: dict[str, tuple[str, bool]]) -> Any:
    """A Struct of these fields, some with a default."""
    defined: list[Any] = []
    for name, (kind, has_default) in fields.items():
        default = msgspec.UNSET if has_default else msgspec.NODEFAULT
        defined.append((name, KINDS[kind], msgspec.field(default=default)))
    return msgspec.defstruct("Made", defined, kw_only=True)


@given(FIELDS, FIELDS)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_result_equals_reading_everything_that_can_be_written(
    written: dict[str, tuple[str, bool]], read: dict[str, tuple[str, bool]]
) -> None:
    """With the code of the reader: `within` must agree if no counterexample exists."""
    old, new = struct(written), struct(read)
    decoder = decoder_for(new)
    fits = True
    for example in examples(written_schema(old)):
        try:
            decoder.from_json(msgspec.json.encode(example))
        except DataMismatch:
            fits = False
    assert fits == (judge_pair(writer(old), own(new)) is None)
    assert fits == (judge_pair(writer(old), foreign(new)) is None)
    if fits:
        assert within(written_schema(old), read_schema(new))


@pytest.mark.parametrize("reader", [own, foreign])
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (int, float, ""),
        (float, int, "number"),
        (Colour, MoreColours, ""),
        (MoreColours, Colour, "green"),
        (str, uuid.UUID, "text"),
        (str, datetime.datetime, "text"),
        (uuid.UUID, str, ""),
        (decimal.Decimal, decimal.Decimal, ""),
        (int, int | None, ""),
        (int | None, int, "null"),
        (list[int], list[float], ""),
        (Annotated[int, msgspec.Meta(le=10)], Annotated[int, msgspec.Meta(le=9)], "10"),
        (Annotated[int, msgspec.Meta(le=9)], Annotated[int, msgspec.Meta(le=10)], ""),
    ],
)
def test_changes_of_one_field(old: Any, new: Any, reason: str, reader: Any) -> None:
    before = msgspec.defstruct("Before", [("field", old)])
    after = msgspec.defstruct("After", [("field", new)])
    found = judge_pair(writer(before), reader(after))
    assert bool(reason) == (found is not None)
    if found is not None:
        assert "data.field" in found.reason
        assert reason in found.example or reason in ("number", "null", "10")


def test_pydantic_reads_what_msgspec_writes() -> None:
    class Placed(msgspec.Struct):
        number: int
        price: decimal.Decimal
        at: datetime.datetime

    class Model(pydantic.BaseModel):
        number: int
        price: decimal.Decimal
        at: datetime.datetime
        note: str = ""

    class Strict(pydantic.BaseModel):
        number: int
        note: str

    assert judge_pair(writer(Placed), own(Model)) is None
    assert judge_pair(writer(Placed), foreign(Model)) is None
    found = judge_pair(writer(Placed), own(Strict))
    assert found is not None
    assert "data.note: Field required" == found.reason


def test_a_reader_that_forbids_unknown_fields_breaks_at_a_new_one() -> None:
    class Old(msgspec.Struct, forbid_unknown_fields=True):
        a: int

    class New(msgspec.Struct):
        a: int
        b: int = 0

    found = judge_pair(writer(New), own(Old))
    assert found is not None
    assert '"b":1' in found.example


def test_own_upcasters_are_run_and_those_of_others_are_taken_at_their_word() -> None:
    class Old(msgspec.Struct):
        cents: int

    @contract("order.placed", version=2)
    class New(msgspec.Struct):
        amount: int

    @upcast("order.placed", 1)
    def rename(data: Any) -> Any:
        return {"amount": data["cents"]}

    upcast_here = {"versions": {"order.placed": 2}, "upcasts": {"order.placed": (1,)}}
    assert judge_pair(writer(Old), own(New, **upcast_here)) is None
    trusted = foreign(New, **upcast_here)
    assert judge_pair(writer(Old), trusted) is None
    alone = foreign(New, versions={"order.placed": 2})
    assert judge_pair(writer(Old), alone) is not None


def test_an_upcaster_that_fails_breaks_its_own_reader() -> None:
    class Old(msgspec.Struct):
        cents: int | None

    @contract("order.placed", version=2)
    class New(msgspec.Struct):
        cents: int

    @upcast("order.placed", 1)
    def double(data: Any) -> Any:
        return {"cents": data["cents"] * 2}

    found = judge_pair(writer(Old), own(New))
    assert found is not None
    assert '{"cents":null}' == found.example
    assert "double (version 1 to 2) raised TypeError" in found.reason


def test_what_a_handler_reads_is_locked_with_its_versions_and_upcasters() -> None:
    @contract("order.placed", version=2)
    class New(msgspec.Struct):
        amount: int

    contract("order.paid")(New)
    upcast("order.placed", 1)(lambda data: data)

    def handle(event: Event) -> None: ...

    handler = make_handler(handle, ("order.*",), service="billing")
    reads = locked_reader(handler)
    assert {"order.paid": 1, "order.placed": 2} == reads.versions
    assert {"order.placed": (1,)} == reads.upcasts
    assert {} == reads.schema
    declared = VERSIONS["order.placed"].contracts[2]
    assert digest(written_schema(New)) == locked_contract(declared).digest


def test_changes_are_named_by_field() -> None:
    class Old(msgspec.Struct):
        cents: int
        lines: list[int]
        note: str = ""

    class New(msgspec.Struct, omit_defaults=True):
        cents: float
        lines: list[str]
        colour: Colour
        note: str = ""

    assert {
        "field cents: integer → number",
        "field lines[]: integer → string",
        "field note is optional now",
        "field colour added: 'blue' or 'red'",
    } == set(changes(written_schema(Old), written_schema(New)))
