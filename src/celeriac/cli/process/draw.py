"""Draw one instance of a process: facts, then a timeline of its steps."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from celeriac.cli.show import console, duration, state_text, when
from celeriac.process.view import InstanceView, StepView


def draw(view: InstanceView) -> None:
    """Print the instance."""
    from rich.text import Text

    out = console()
    out.print(Text.assemble((view.handler, "bold"), " ", (view.key, "bold"), " is "), end="")
    out.print(state_text(view.status))
    facts = {
        "reason": view.reason,
        "started": when(view.started_ms),
        "last step": when(view.updated_ms),
        "kept until": when(view.expires_ms) if view.expires_ms is not None else "",
        "timers": ", ".join(f"{timer.name} at {when(timer.at_ms)}" for timer in view.timers),
        "undo": ", ".join(view.undo),
        "state": msgspec.json.encode(view.state).decode(),
    }
    for name, text in facts.items():
        if text:
            out.print(Text.assemble((f"{name:<12}", "dim"), text), soft_wrap=True)
    out.print()
    for step in view.steps:
        after = f"+{duration((step.at_ms - view.started_ms) / 1000)}"
        out.print(
            Text.assemble((f"{step.seq:>3} ", "dim"), (f"{after:>8}  ", "dim"),
                          (step.event_type, "bold"), (f"  {step.event_id}", "dim")),
            soft_wrap=True,
        )  # fmt: skip
        for text in _effects(step):
            out.print(Text(f"{'':14}{text}"), soft_wrap=True)


def _effects(step: StepView) -> Iterator[str]:
    for event in step.emitted:
        yield f"emits {event.type}  {event.id}"
    for timer in step.reminders:
        yield f"sets {timer.name} at {when(timer.at_ms)}"
    for name in step.forgotten:
        yield f"removes {name}"
    if step.status != "open":
        yield str(step.status)
