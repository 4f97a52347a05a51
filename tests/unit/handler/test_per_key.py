"""The options of a handler that apply to each key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest
from pydantic import BaseModel, Field

from celeriac import Event
from celeriac.errors import SubscriptionError
from celeriac.flow_control import ORDERED, FlowControl
from celeriac.handler import Debounce, Handler, HandlerOptions, PerKey, make_handler


class Account(msgspec.Struct):
    number: int


class Report(msgspec.Struct, rename="camel"):
    tenant_id: str
    account: Account | None = None


@dataclass
class Plain:
    tenant: str


class Typed(TypedDict):
    tenant: str


class Model(BaseModel):
    tenant: str = Field(alias="tenantId")


def build(event: Event) -> None: ...


def of_report(event: Event[Report]) -> None: ...


def of_plain(event: Event[Plain]) -> None: ...


def of_typed(event: Event[Typed]) -> None: ...


def of_model(event: Event[Model]) -> None: ...


def several(events: list[Event]) -> None: ...


def made(function: Any = build, **options: Any) -> Handler:
    return make_handler(function, ("report.#",), HandlerOptions(**options), service="reports")


def test_a_limit_for_each_key_is_none_for_the_handler() -> None:
    handler = made(key="data.tenant", concurrency=PerKey(2), rate_limit=PerKey("10/s"), fair=True)
    assert (None, None) == (handler.concurrency, handler.per_second)
    assert handler.flow_control == FlowControl(
        key="data.tenant", concurrency=2, per_second=10.0, fair=True
    )
    assert handler.flow_control == handler.group("report").flow_control


def test_limits_for_each_key_and_for_the_handler_go_together() -> None:
    handler = made(concurrency=8, rate_limit=PerKey("6/m"))
    assert (8, None) == (handler.concurrency, handler.per_second)
    assert handler.flow_control == FlowControl(per_second=0.1)


def test_order_is_the_case_of_one_at_a_time() -> None:
    assert ORDERED == made(ordered=True).flow_control
    assert FlowControl(key="data.tenant", ordered=True, concurrency=1) == (
        made(ordered=True, key="data.tenant").flow_control
    )
    assert ORDERED == made(ordered=True, concurrency=PerKey(1)).flow_control


def test_a_handler_without_such_options_has_no_flow_control() -> None:
    assert made(concurrency=3, rate_limit="5/s").flow_control is None


def test_times_of_a_debounce_are_in_seconds() -> None:
    flow_control = made(debounce=Debounce(quiet=0.5, max_wait=60, keep="first")).flow_control
    assert flow_control == FlowControl(quiet_ms=500, max_quiet_ms=60_000, keep="first")


def test_a_debounced_handler_that_keeps_all_takes_a_list() -> None:
    handler = made(several, key="subject", debounce=Debounce(5, 60, keep="all"))
    assert handler.batch is not None
    with pytest.raises(SubscriptionError, match="takes one event"):
        made(build, debounce=Debounce(5, 60, keep="all"))


def test_people_see_the_options_of_keys() -> None:
    handler = made(key="data.tenant", concurrency=PerKey(2), rate_limit=PerKey("10/s"), fair=True)
    assert {
        "key": "data.tenant", "concurrency per key": "2", "rate per key": "10/s", "fair": "True",
    } == handler.describe_options()  # fmt: skip
    assert {"ordered": "True"} == made(ordered=True).describe_options()
    debounced = made(key="subject", debounce=Debounce(5, 60))
    assert debounced.describe_options()["debounce"] == "5s, at most 60s, keep last"


@pytest.mark.parametrize(
    ("function", "key"),
    [
        (build, "subject"),
        (build, "partitionkey"),
        (build, "tenant2"),
        (build, "data.tenant.id"),
        (of_report, "data.tenantId"),
        (of_report, "data.account.number"),
        (of_plain, "data.tenant"),
        (of_typed, "data.tenant"),
        (of_model, "data.tenantId"),
    ],
)
def test_a_key_is_an_attribute_or_a_path_into_data(function: Any, key: str) -> None:
    flow_control = made(function, key=key, fair=True).flow_control
    assert flow_control is not None
    assert key == flow_control.key


@pytest.mark.parametrize(
    ("function", "key", "remedy"),
    [
        (build, "", "such as 'subject'"),
        (build, 7, "such as 'subject'"),
        (build, "data", "name a field"),
        (build, "data.", "field names with dots"),
        (build, "data..tenant", "field names with dots"),
        (build, "data.items[0]", "field names with dots"),
        (build, "payload.tenant", "leads into data, as in 'data.payload.tenant'"),
        (build, "id", "does not group events"),
        (build, "data_base64", "does not group events"),
        (build, "tenant_id", "write 'data.tenant_id'"),
        (of_report, "data.tenant_id", "Report has no field 'tenant_id', only account, tenantId"),
        (of_report, "data.account.name", "Account has no field 'name'"),
        (of_plain, "data.x", "Plain has no field"),
        (of_typed, "data.x", "Typed has no field"),
        (of_model, "data.x", "Model has no field"),
    ],
)
def test_a_bad_key_is_refused_with_the_remedy(function: Any, key: Any, remedy: str) -> None:
    with pytest.raises(SubscriptionError, match=remedy):
        made(function, key=key, fair=True)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"concurrency": PerKey("10/s")}, r"such as PerKey\(2\)"),
    ({"concurrency": PerKey(0)}, "at least 1"),
    ({"concurrency": PerKey(True)}, "at least 1"),
    ({"rate_limit": PerKey("fast")}, r"such as PerKey\('10/s'\)"),
    ({"rate_limit": PerKey(0)}, r"such as PerKey\('10/s'\)"),
    ({"ordered": True, "concurrency": PerKey(2)}, "exclude each other"),
    ({"ordered": True, "debounce": Debounce(1, 2)}, "exclude each other"),
    ({"key": "subject"}, "limits nothing by itself"),
    ({"weights": {"gold": 4}}, "add fair=True"),
    ({"fair": True, "weights": {"gold": 0}}, "number over 0"),
    ({"fair": True, "weights": {7: 1}}, "must map a key .str."),
    ({"fair": True, "weights": [1]}, "must be a mapping"),
    ({"fair": 1}, "True or False"),
    ({"debounce": 5}, r"must be a Debounce, such as Debounce\(quiet=5, max_wait=60\)"),
    ({"debounce": Debounce(1, 2), "batch": 5, "function": several}, "exclude each other"),
    ({"debounce": Debounce(1, 2), "when": lambda event: True}, "use keep='all'"),
    ({"debounce": Debounce(1, 2, "first"), "signed": True}, "use keep='all'"),
    ({"debounce": Debounce(1, 2), "share": 0.5}, "use keep='all'"),
]


@pytest.mark.parametrize(("options", "remedy"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_a_bad_option_is_refused_with_the_remedy(options: dict[str, Any], remedy: str) -> None:
    with pytest.raises(SubscriptionError, match=remedy):
        made(**options)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ((0, 5), "quiet=0"),
        ((1, "5"), "max_wait='5'"),
        ((True, 5), "quiet=True"),
        ((1, float("inf")), "at most 315360000"),
        ((1e308, 1e308), "at most 315360000"),
        ((5, 1), "max_wait must be at least quiet"),
        ((1, 5, "newest"), "must be one of last, first, all"),
    ],
)
def test_a_bad_debounce_is_refused(given: tuple[Any, ...], fault: str) -> None:
    with pytest.raises(SubscriptionError, match=fault):
        Debounce(*given)
