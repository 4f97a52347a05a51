"""Effects without a key of their own."""

from __future__ import annotations

from pathlib import Path

from devtools.faults.inboxed import InboxedEffects, open_engine, write_effect


def test_every_effect_is_a_row_however_often_it_was_written(tmp_path: Path) -> None:
    """Else a doubled effect would not be seen, and the inbox would prove nothing."""
    made = InboxedEffects(f"sqlite:///{tmp_path / 'effects.sqlite'}")
    made.create()
    engine = open_engine(made.url)
    for event in ("1", "2", "1"):
        with engine.begin() as connection:
            write_effect(connection, "billing.second", event)
    engine.dispose()
    assert made.effects() == {("billing.second", "1"): 2, ("billing.second", "2"): 1}
    assert made.count() == 3
    assert made.times().keys() == made.effects().keys()
    made.drop()
