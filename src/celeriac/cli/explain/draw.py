"""Print an explanation: one line for each check, the deciding one marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from celeriac.cli.show import STYLES, console, state_text, table
from celeriac.explain import Check, CheckResult, Explanation

if TYPE_CHECKING:
    from rich.text import Text

MARKS: Mapping[CheckResult, tuple[str, str]] = {
    CheckResult.PASSED: ("✓", "green"),
    CheckResult.FAILED: ("✗", "bold red"),
    CheckResult.WAITING: ("…", "yellow"),
    CheckResult.UNKNOWN: ("?", "yellow"),
}
INDENT = 17


def draw(explanation: Explanation) -> None:
    """Print every check. `▶` marks the deciding check; the command below it changes the result."""
    from rich.text import Text

    out = console()
    about = " ".join(filter(None, (explanation.type or explanation.id, explanation.subject)))
    out.print(Text.assemble((about, "bold"), " → ", (explanation.handler, "bold")), soft_wrap=True)
    for n, check in enumerate(explanation.checks):
        decides = n == explanation.deciding
        for line in _lines(check, decides, out.width):
            out.print(line, soft_wrap=True)
        if check.remedy and (decides or check.result is not CheckResult.PASSED):
            # On one line, so that it can be copied.
            out.print(Text.assemble(" " * INDENT, ("→ ", "dim"), check.remedy), soft_wrap=True)


def _lines(check: Check, decides: bool, width: int) -> Iterator[Text]:
    from rich.text import Text

    mark, style = MARKS[check.result]
    first, *rest = wrap(check.text, max(30, width - INDENT)) or [""]
    yield Text.assemble(
        ("▶ " if decides else "  ", "bold"),
        (mark, style),
        (f" {check.name:<12} ", "" if decides else "dim"),
        (first, "bold" if decides else ""),
    )
    for line in rest:
        yield Text(" " * INDENT + line, style="bold" if decides else "")


def draw_decisions(explanations: Sequence[Explanation]) -> None:
    """Print the deciding check of each handler."""
    table(
        ("handler", "state", "decided by", "why"),
        [
            (item.handler, _state(item), item.decision.name, _why(item.decision))
            for item in explanations
        ],
        fold={"handler": 16, "why": 24},
    )


def _state(explanation: Explanation) -> object:
    return state_text(explanation.state) if explanation.state is not None else ""


def _why(check: Check) -> object:
    from rich.text import Text

    style = STYLES["fail"] if check.result is CheckResult.FAILED else ""
    return Text(check.text, style=style)
