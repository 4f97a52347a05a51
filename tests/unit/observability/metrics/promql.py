"""The part of PromQL's grammar that finds the series and labels of an expression."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>"(?:[^"\\]|\\.)*"|'[^']*')
    |(?P<range>\[[^\]]*\])
    |(?P<number>\d+(?:\.\d+)?(?:[smhdwy])?)
    |(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    |(?P<sign>==|!=|=~|!~|<=|>=|[-+*/%^<>=(){},])""",
    re.X,
)
GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
OPERATORS = frozenset({"and", "or", "unless", "bool", "offset"})
AGGREGATIONS = frozenset({"sum", "max", "min", "avg", "count"})
FUNCTIONS = frozenset({"rate", "increase", "delta", "deriv", "absent", "histogram_quantile"})


@dataclass(frozen=True, slots=True)
class Use:
    """A series that is asked for, with the labels that it is chosen by."""

    series: str
    labels: frozenset[str]


class NotPromQL(Exception):
    pass


def tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise NotPromQL(f"cannot read {text[at : at + 20]!r}")
        if found.lastgroup != "space":
            yield found.lastgroup, found[0]
        at = found.end()


def uses(expression: str) -> tuple[list[Use], frozenset[str]]:
    """The series of an expression, and the labels it groups by. Raises NotPromQL."""
    found, grouped = list(tokens(expression)), set()
    answer: list[Use] = []
    closing: list[str] = []
    n = 0
    while n < len(found):
        kind, text = found[n]
        following = found[n + 1][1] if n + 1 < len(found) else ""
        if kind == "name" and text in GROUPING:
            names, n = _until(found, n + 1, "(", ")")
            grouped |= {name for kind, name in names if kind == "name"}
        elif kind == "name" and following == "(":
            if text not in FUNCTIONS | AGGREGATIONS:
                raise NotPromQL(f"no function {text}")
        elif kind == "name" and text not in OPERATORS | AGGREGATIONS:
            labels: frozenset[str] = frozenset()
            if following == "{":
                inside, n = _until(found, n + 1, "{", "}")
                labels = frozenset(name for kind, name in inside if kind == "name")
            answer.append(Use(text, labels))
        elif text in ("(", "{"):
            closing.append(")" if text == "(" else "}")
        elif text in (")", "}") and (not closing or closing.pop() != text):
            raise NotPromQL(f"{text} closes nothing in {expression}")
        n += 1
    if closing:
        raise NotPromQL(f"{closing[-1]} is missing in {expression}")
    return answer, frozenset(grouped)


def _until(
    found: list[tuple[str, str]], n: int, opening: str, closing: str
) -> tuple[list[tuple[str, str]], int]:
    """The tokens between, and where the closing one is."""
    if n >= len(found) or found[n][1] != opening:
        raise NotPromQL(f"{opening} is missing")
    for end in range(n + 1, len(found)):
        if found[end][1] == closing:
            return found[n + 1 : end], end
    raise NotPromQL(f"{closing} is missing")
