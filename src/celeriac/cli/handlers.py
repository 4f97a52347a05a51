"""`celeriac handlers`"""

from __future__ import annotations

import click

from celeriac.cli.circuit import circuit_text
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import count, state_text, table, when
from celeriac.cli.terminal import confirm, echo
from celeriac.cli.time_param import DURATION
from celeriac.delivery import Group
from celeriac.errors import CeleriacError, NotFound
from celeriac.registry import HandlerRecord, WorkerRecord, is_alive
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
    if as_json:
        print_json(
            [
                {**_plain(r), "workers": _names(r, living), "circuit": circuits.get(r.id)}
                for r in records
            ]
        )
    elif not records:
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
            ],
            right=("workers",),
            fold={"handler": 30, "events": 16, "options": 12, "queue": 10},
            shed=("options", "subscribed since", "queue"),
        )
        for circuit in circuits.values():
            echo(f"{circuit.handler} {circuit_text(circuit, now)}")


def _plain(record: HandlerRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


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
    if serving:
        echo(
            f"{serving} has {handler} in its code: it stops serving it now, but registers it "
            "again when it restarts. Deploy without the handler first.",
            err=True,
        )
    if not yes:
        question = f"Remove {handler} and drop {count(unfinished, 'unfinished event')}?"
        confirm(question, abort=True)
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
    session.handler(handler)
    for_ms = None if for_how_long is None else int(for_how_long * 1000)
    circuit = session.backend.circuits.pause(handler, for_ms=for_ms, reason=reason)
    echo(f"{handler} {circuit_text(circuit, session.backend.registry.now_ms())}")


@handlers.command()
@click.argument("handler")
@pass_session
def resume(session: Session, handler: str) -> None:
    """Resume a handler that was paused manually or by its circuit breaker."""
    session.handler(handler)
    if session.backend.circuits.resume(handler):
        echo(f"{handler} is resumed.")
    else:
        echo(f"{handler} was not paused.")


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
