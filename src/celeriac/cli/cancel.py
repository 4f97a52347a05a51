"""`celeriac cancel`"""

from __future__ import annotations

import click

from celeriac.cli.group import CommandError
from celeriac.cli.session import Session, pass_session
from celeriac.cli.source import source_option
from celeriac.cli.terminal import echo
from celeriac.cli.user import user_name
from celeriac.dead_letter import Note
from celeriac.event import event_key


@click.command()
@click.argument("event_id")
@source_option
@click.option("--reason", default="", help="Written to the audit log.")
@pass_session
def cancel(session: Session, event_id: str, source: str | None, reason: str) -> None:
    """Cancel an event that was emitted with a delay, before its time.

    Fails if the event is in the event log already.
    """
    located = session.matrix.find_all(event_id, source=source)
    delayed = [event for event in located if event.location == "delayed"]
    if not delayed:
        raise CommandError(
            f"event {event_id} is not delayed: it is in the event log. See "
            f"`celeriac status {event_id}`"
        )
    for event in delayed:
        key = event_key(event.event.id, event.event.source)
        if not session.backend.event_log.cancel_delayed(key, [event.domain]):
            raise CommandError(
                f"event {event_id} of {event.event.source} was not cancelled: its time has come"
            )
        note = Note(
            actor=user_name(),
            did="cancel",
            what=f"{event.event.type} {event_id}",
            via="celeriac",
            reason=reason,
        )
        session.backend.deliveries.record(event.domain, note.encode())
        echo(f"cancelled {event.event.type} {event_id} of {event.event.source}")
