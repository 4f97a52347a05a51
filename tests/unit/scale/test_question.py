"""The parameters of a request for a number of workers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import ConfigurationError
from celeriac.scale.question import ScaleQuestion, parse_question


def test_without_parameters_the_defaults_apply() -> None:
    assert parse_question("billing", []) == ScaleQuestion(service="billing")


def test_parameters_have_the_names_of_the_options() -> None:
    parameters = [
        ("drain_target", "60"), ("cooldown", "0.5"), ("processes", "4"), ("max", "8"),
        ("queue", "slow"),
    ]  # fmt: skip
    assert parse_question("billing", parameters) == ScaleQuestion(
        service="billing", drain_target=60, cooldown=0.5, processes=4, max_workers=8, queue="slow"
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([("draintarget", "1")], "unknown parameter: draintarget. Use drain_target"),
        ([("max_workers", "1")], "unknown parameter: max_workers"),
        ([("max", "1"), ("max", "2")], "max occurs twice"),
        ([("max", "many")], "max is not a whole number: 'many'"),
        ([("processes", "1.5")], "processes is not a whole number"),
        ([("processes", "٣")], "processes is not a whole number"),
        ([("drain_target", "")], "drain_target is not a number: ''"),
        ([("drain_target", "nan")], "drain_target is out of range: nan"),
        ([("cooldown", "1e9")], "cooldown is out of range"),
    ],
)
def test_a_wrong_parameter_is_refused(parameters: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_question("billing", parameters)


@given(st.lists(st.tuples(st.sampled_from(["max", "cooldown", "queue", "x"]), st.text())))
def test_no_text_causes_another_error(parameters: list[tuple[str, str]]) -> None:
    try:
        question = parse_question("billing", parameters)
    except ConfigurationError:
        return
    assert question.service == "billing"
