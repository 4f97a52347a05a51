"""`celeriac scale`"""

from __future__ import annotations

import click

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import count, duration, run_time, table
from celeriac.cli.terminal import echo
from celeriac.scale import HandlerWork, ScaleReader
from celeriac.scale.document import scale_document
from celeriac.scale.wanted import COOLDOWN, DRAIN_TARGET

NUMBERS = ["ahead", "queued", "running", "blocked", "due", "later", "mean", "work"]


@click.command()
@click.argument("service")
@click.option(
    "--drain-target",
    type=float,
    default=DRAIN_TARGET,
    show_default=True,
    metavar="SECONDS",
    help="Finish the backlog within this time.",
)
@click.option(
    "--cooldown",
    type=float,
    default=COOLDOWN,
    show_default=True,
    metavar="SECONDS",
    help="Keep a worker if something is due within this time.",
)
@click.option(
    "--processes",
    type=int,
    metavar="N",
    help="Processes of one worker.  [default: as the workers reported]",
)
@click.option("--max", "max_workers", type=int, metavar="N", help="The largest answer.")
@click.option("--queue", metavar="NAME", help="Only the handlers of this queue.")
@json_option
@pass_session
def scale(
    session: Session,
    service: str,
    drain_target: float,
    cooldown: float,
    processes: int | None,
    max_workers: int | None,
    queue: str | None,
    as_json: bool,
) -> None:
    """Show how many workers SERVICE needs, and why.

    The backlog of each handler times its mean run time, divided by the drain target and by the
    processes of a worker. The gateway answers the same at GET /v1/scale/SERVICE, for KEDA.

    ahead: wanted events that were not fetched. due: scheduled for the time of the drain target.
    later: scheduled for the time until the end of the cooldown; keeps one worker.
    """
    answer = ScaleReader(session.backend).read(
        service,
        drain_target=drain_target,
        cooldown=cooldown,
        processes=processes,
        max_workers=max_workers,
        queue=queue,
    )
    if as_json:
        print_json(scale_document(answer))
        return
    echo(f"{service} needs {count(answer.workers, 'worker')}.")
    for reason in answer.reasons:
        echo(f"- {reason}")
    if answer.handlers:
        echo("")
        table(
            ("handler", *NUMBERS),
            [_row(work) for work in answer.handlers],
            right=NUMBERS,
            fold={"handler": 24},
            gap=1,
        )


def _row(work: HandlerWork) -> tuple[object, ...]:
    load = work.load
    ahead = f"~{load.ahead:,}" if load.is_estimate else f"{load.ahead:,}"
    return (
        load.handler,
        ahead if load.ahead or load.is_unknown else "",
        *(f"{n:,}" if n else "" for n in (load.queued, load.running, load.blocked)),
        *(f"{n:,}" if n else "" for n in (load.due, load.later)),
        run_time(load.mean_us),
        duration(work.work_s) if work.work_s else "",
    )
