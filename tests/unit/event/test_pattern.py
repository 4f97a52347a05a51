from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import SubscriptionError
from celeriac.event import Matcher, Pattern, compile_patterns, literal_domain


def reference(pattern: list[str], type_: list[str]) -> bool:
    """A literal implementation of AMQP 0-9-1, 3.1.3.3."""
    if not pattern:
        return not type_
    if pattern[0] == "#":
        return any(reference(pattern[1:], type_[at:]) for at in range(len(type_) + 1))
    if not type_:
        return False
    return pattern[0] in ("*", type_[0]) and reference(pattern[1:], type_[1:])


segments = st.sampled_from(["a", "b", "ab", "a-b"])


@given(
    st.lists(segments | st.sampled_from(["*", "#"]), min_size=1, max_size=7),
    st.lists(segments, min_size=1, max_size=7),
)
def test_a_pattern_matches_as_in_amqp(pattern: list[str], type_: list[str]) -> None:
    expected = reference(pattern, type_)
    assert Pattern(".".join(pattern)).matches(".".join(type_)) is expected


@pytest.mark.parametrize(
    ("pattern", "type_", "expected"),
    [
        ("order.placed", "order.placed", True),
        ("order.placed", "order.Placed", False),
        ("order.*", "order.placed", True),
        ("order.*", "order", False),
        ("order.*", "order.a.b", False),
        ("order.#", "order", True),
        ("order.#", "order.a.b", True),
        ("order.#", "orders.a", False),
        ("#", "a", True),
        ("#", "a.b.c", True),
        ("*", "a.b", False),
        ("#.failed", "failed", True),
        ("#.failed", "a.b.failed", True),
        ("#.failed", "a.notfailed", False),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.y.b", True),
        ("a.#.b", "ab", False),
        ("#.a.#", "b.ab.b", False),
        ("a-b.*", "a-b.c", True),
    ],
)
def test_a_pattern_of_the_guide(pattern: str, type_: str, expected: bool) -> None:
    assert Pattern(pattern).matches(type_) is expected


def test_many_wildcards_stay_fast_on_the_longest_type() -> None:
    pattern = Pattern(".".join(["#", "a"] * 30 + ["#", "b"]))
    started = time.thread_time()
    assert not pattern.matches(".".join(["a"] * 127))
    assert time.thread_time() - started < 0.1


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        ("", "'#' matches every event"),
        ("order.", "remove the dot"),
        (".order", "remove the dot"),
        ("a..b", "second of two dots"),
        ("order#", "match whole segments"),
        ("order.pl*", "match whole segments"),
        ("**", "match whole segments"),
        ("order placed", "ASCII letters"),
        ("order/placed", "ASCII letters"),
        ("order.placed\n", "ASCII letters"),
        ("order.{a}", "ASCII letters"),
        ("a" * 256, "at most 255"),
        (None, "must be a string"),
    ],
)
def test_a_bad_pattern_is_refused_with_the_remedy(pattern: Any, remedy: str) -> None:
    with pytest.raises(SubscriptionError, match=remedy):
        Pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "domain"),
    [
        ("order.placed", "order"),
        ("order", "order"),
        ("order.#", "order"),
        ("#", None),
        ("*", None),
        ("#.x", None),
        ("*.failed", None),
    ],
)
def test_the_domain_of_a_pattern_is_its_first_segment_if_literal(
    pattern: str, domain: str | None
) -> None:
    assert literal_domain(pattern) == domain


def test_a_matcher_matches_when_any_of_its_patterns_does() -> None:
    matcher = compile_patterns("order.placed", "payment.*")
    for _ in range(2):  # the second time from the cache
        assert matcher.matches("order.placed")
        assert matcher.matches("payment.failed")
        assert not matcher.matches("order.amended")


def test_a_matcher_remembers_a_bounded_number_of_types() -> None:
    matcher = compile_patterns("a.*")
    for number in range(5000):
        assert matcher.matches(f"a.{number}")
    assert matcher._cached.cache_info().currsize == 4096


def test_a_matcher_has_the_domains_that_it_can_match() -> None:
    assert compile_patterns("order.*", "order.#", "pay.x").domains == frozenset({"order", "pay"})
    assert compile_patterns("order.*", "#.failed").domains is None


def test_a_pattern_given_twice_counts_once() -> None:
    matcher: Matcher = compile_patterns("a", "a")
    assert [pattern.text for pattern in matcher.patterns] == ["a"]


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(SubscriptionError, match="no pattern"):
        compile_patterns()


def test_patterns_show_their_text() -> None:
    assert repr(Pattern("a.*")) == "Pattern('a.*')"
    assert repr(compile_patterns("a.*", "b")) == "Matcher('a.*', 'b')"
