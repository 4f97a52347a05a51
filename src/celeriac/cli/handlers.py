"""`celeriac handlers`"""

from __future__ import annotations

import click

from celeriac.cli.circuit import circuit_text
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import count, state_text, table, when
from celeriac.cli.terminal import confirm, echo
from celeriac.cli.time_param import DURATION
from celeriac.cli.user import user_name
from celeriac.dead_letter import Note, record_action
from celeriac.delivery import Group
from celeriac.errors import CeleriacError, NotFound
from celeriac.registry import (
    HandlerRecord,
    LiveBroadcast,
    WorkerRecord,
    is_alive,
    live_broadcasts,
)
from celeriac.tracking import HandlerLag
from celeriac.visible import listed


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def handlers(ctx: click.Context, as_json: bool) -> None:
    """List the handlers. `pause`, `resume` and `remove` change one."""
    if ctx.invoked_subcommand is None:
        session = ctx.find_object(Session)
        assert session is not None
        _list(session, as_json)


def _list(session: Session, as_json: bool) -> None:
    registry = session.backend.registry
    records, now = registry.handlers().values(), registry.now_ms()
    circuits = session.backend.circuits.all()
    living = [worker for worker in registry.workers() if is_alive(worker, now)]
    broadcasts = live_broadcasts(living)
    if as_json:
        print_json(
            [
                {**_plain(r), "workers": _names(r, living), "circuit": circuits.get(r.id)}
                for r in records
            ]
            + [_broadcast_plain(broadcast) for broadcast in broadcasts]
        )
    elif not records and not broadcasts:
        echo("No handlers. A handler is registered when its worker starts.")
    else:
        table(
            ("handler", "events", "queue", "options", "subscribed since", "workers"),
            [
                (
                    record.id,
                    " ".join(record.patterns),
                    record.queue,
                    " ".join(f"{name}={value}" for name, value in record.options.items()),
                    _since(record),
                    len(_names(record, living)) or state_text("fail", "none"),
                )
                for record in records
            ]
            + [_broadcast_row(broadcast) for broadcast in broadcasts],
            right=("workers",),
            fold={"handler": 30, "events": 16, "options": 12, "queue": 10},
            shed=("options", "subscribed since", "queue"),
        )
        for circuit in circuits.values():
            echo(f"{circuit.handler} {circuit_text(circuit, now)}")


def _plain(record: HandlerRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _broadcast_plain(broadcast: LiveBroadcast) -> dict[str, object]:
    return {
        "id": broadcast.id,
        "service": broadcast.service,
        "patterns": broadcast.patterns,
        "broadcast": broadcast.scope,
        "workers": broadcast.workers,
        "instances": broadcast.instances,
    }


def _broadcast_row(broadcast: LiveBroadcast) -> tuple[object, ...]:
    """Return the row of a handler without a consumer group: it has no queue and no first event."""
    option = f"broadcast={broadcast.scope} instances={broadcast.instances}"
    patterns = " ".join(broadcast.patterns)
    return broadcast.id, patterns, "", option, "", len(broadcast.workers)


def _names(record: HandlerRecord, living: list[WorkerRecord]) -> list[str]:
    """Return the names of the running workers that serve the handler."""
    return [w.name for w in living if record.id in w.handlers]


def _since(record: HandlerRecord) -> str:
    firsts = [int(entry.partition("-")[0]) for entry in record.since.values()]
    if not firsts:
        return ""
    return "the first event" if min(firsts) == 0 else when(min(firsts))


@handlers.command()
@click.argument("handler")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_session
def remove(session: Session, handler: str, yes: bool) -> None:
    """Remove a handler permanently, with its unfinished deliveries.

    Its dead letters stay. A running worker that still has the handler stops serving it, but
    registers it again when it restarts. Deploy without the handler first.
    """
    lags = [lag for lag in session.matrix.lag() if lag.handler == handler]
    registered = handler in session.backend.registry.handlers()
    if not lags and not registered:
        session.handler(handler)
        raise NotFound(f"handler not found: {handler}. Check the name with `celeriac handlers`.")
    unfinished = sum(lag.unfinished for lag in lags)
    serving = _serving(session, handler)
    if serving and not registered:
        raise CeleriacError(
            f"{handler} has no record, but {serving} serves it and registers it again within 5 s. "
            "Then check it again with `celeriac doctor`."
        )
    record = session.backend.registry.handlers().get(handler)
    if record is not None and record.pull is not None:
        echo(
            f"Clients that fetch {handler} are refused from now on (410), until one registers it "
            "again. Stop them first.",
            err=True,
        )
    elif serving:
        echo(
            f"{serving} has {handler} in its code: it stops serving it now, but registers it "
            "again when it restarts. Deploy without the handler first.",
            err=True,
        )
    if not yes:
        question = f"Remove {handler} and drop {count(unfinished, 'unfinished event')}?"
        confirm(question, abort=True)
    _record(session, "remove handler", handler)
    _remove(session, handler, lags)
    dead = sum(lag.dead for lag in lags)
    kept = f" {count(dead, 'dead letter')} kept: celeriac dead list --handler {handler}"
    echo(f"{handler} is removed; {count(unfinished, 'event')} dropped.{kept if dead else ''}")


@handlers.command()
@click.argument("handler")
@click.option("--for", "for_how_long", type=DURATION, help="Resume it after this time: 15m, 2h.")
@click.option("--reason", default="", help="Reason, shown while it is paused.")
@pass_session
def pause(session: Session, handler: str, for_how_long: float | None, reason: str) -> None:
    """Pause a handler in all workers: its events wait in the log, and no attempt is counted.

    Running deliveries end. Workers follow within a second.
    """
    _check_registered(session, handler)
    for_ms = None if for_how_long is None else int(for_how_long * 1000)
    _record(session, "pause", handler, reason)
    circuit = session.backend.circuits.pause(handler, for_ms=for_ms, reason=reason)
    echo(f"{handler} {circuit_text(circuit, session.backend.registry.now_ms())}")


@handlers.command()
@click.argument("handler")
@click.option("--reason", default="", help="Reason, for the audit log.")
@pass_session
def resume(session: Session, handler: str, reason: str) -> None:
    """Resume a handler that was paused manually or by its circuit breaker."""
    _check_registered(session, handler)
    _record(session, "resume", handler, reason)
    if session.backend.circuits.resume(handler):
        echo(f"{handler} is resumed.")
    else:
        echo(f"{handler} was not paused.")


def _record(session: Session, did: str, handler: str, reason: str = "") -> None:
    """Write the action to the audit log, first: an action without a record must not happen."""
    note = Note(actor=user_name(), did=did, what=handler, via="celeriac", reason=reason)
    record_action(session.backend, note)


def _check_registered(session: Session, handler: str) -> None:
    """Raise NotFound for an unknown handler. That of webhooks has a circuit for each endpoint,
    `handler/endpoint`."""
    session.handler(handler.partition("/")[0])


def _serving(session: Session, handler: str) -> str:
    """Return the running workers that serve the handler, as text; empty if there are none."""
    registry = session.backend.registry
    now = registry.now_ms()
    return listed(
        worker.name
        for worker in registry.workers()
        if is_alive(worker, now) and handler in worker.handlers
    )


def _remove(session: Session, handler: str, lags: list[HandlerLag]) -> None:
    backend = session.backend
    backend.circuits.resume(handler)
    # First, so that no worker creates the deleted group again.
    backend.registry.unregister(handler)
    for domain in sorted(backend.event_log.domains() | {lag.domain for lag in lags}):
        backend.event_log.leave(domain, handler)
        backend.deliveries.forget(Group(domain, handler))
