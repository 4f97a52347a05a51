"""celeriac watch"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec
import redis

from celeriac.cli.doctor.command import CHECKS, examine
from celeriac.cli.session import Session, pass_session
from celeriac.cli.terminal import echo
from celeriac.cli.time_param import DURATION
from celeriac.cli.watch.alert import Alert, Alerts, Changes, Known, Level, alerts_of
from celeriac.cli.watch.rule import Rules, dead_rules, pairs
from celeriac.errors import ConfigurationError
from celeriac.extra import needing
from celeriac.store.redis.connection import address

Send = Callable[[Changes], bool]


@click.command()
@click.option(
    "--to", "urls", multiple=True, metavar="URL", envvar="CELERIAC_ALERT_URLS",
    help="Where notices go, as Apprise has it; several times. [CELERIAC_ALERT_URLS]",
)  # fmt: skip
@click.option("--every", type=DURATION, default=30.0, help="Between two looks. [default: 30s]")
@click.option(
    "--level", type=click.Choice(["warn", "fail"]), default="fail", show_default=True,
    help="Of what doctor finds, and worse.",
)  # fmt: skip
@click.option("--dead", multiple=True, metavar="PATTERN[=N]", help="N dead letters of a type. [1]")
@click.option("--lag", multiple=True, metavar="HANDLER=SECONDS", help="So far behind: billing.*=60")
@click.option("--workers", multiple=True, metavar="SERVICE=N", help="Fewer living workers than N.")
@click.option(
    "--after", type=click.IntRange(1), default=2, show_default=True,
    help="Looks in a row before a notice, and before its recovery.",
)  # fmt: skip
@click.option("--repeat", type=DURATION, help="Again after so long, while it lasts. [never]")
@click.option("--state", type=click.Path(dir_okay=False), help="A file that outlasts restarts.")
@click.option("--once", is_flag=True, help="One look, and end.")
@pass_session
def watch(
    session: Session,
    urls: tuple[str, ...],
    every: float,
    level: Level,
    dead: tuple[str, ...],
    lag: tuple[str, ...],
    workers: tuple[str, ...],
    after: int,
    repeat: float | None,
    state: str | None,
    once: bool,
) -> None:
    """Sends a notice when something is wrong, and when it is over.

    Watches what doctor checks, and the rules that are given. Each alert is sent once; one that gets
    worse is sent again. Notices are printed as well, and only printed without --to.
    """
    rules = Rules(
        dead=dead_rules(dead),
        lag=pairs(lag, "--lag"),
        workers=tuple((name, int(number)) for name, number in pairs(workers, "--workers")),
    )
    send = _sender(urls)
    file = Path(state) if state is not None else None
    alerts = Alerts(_load(file), after=1 if once and file is None else after, repeat_s=repeat)
    while True:
        now = time.time()
        found, is_partial = _found(session, rules, level)
        changes = alerts.look(found, now, is_partial=is_partial)
        if changes:
            echo(f"{changes.title}\n{changes.body}")
            if send(changes):
                alerts.sent(changes, now)
            else:
                echo("A notice could not be sent; it is sent again at the next look.", err=True)
        _save(file, alerts)
        if once:
            return
        time.sleep(every)


def _found(session: Session, rules: Rules, level: Level) -> tuple[list[Alert], bool]:
    """The alerts now, and whether Redis kept more of them back."""
    try:
        snapshot = examine(session)
        findings = [finding for check in CHECKS for finding in check(snapshot)]
        return [*alerts_of(findings, level), *rules.check(session.backend)], False
    except redis.RedisError as error:
        text = f"Redis at {address(session.settings.redis_url)}: {type(error).__name__}"
        return [Alert(key="redis", level="fail", text=text, remedy="celeriac doctor")], True


def _sender(urls: Sequence[str]) -> Send:
    """Sends changes to all of the URLs; True if each was reached."""
    if not urls:
        return lambda changes: True
    with needing("alerts", "celeriac watch --to"):
        import apprise
    notifier = apprise.Apprise()
    for n, url in enumerate(urls, 1):
        # It may hold a password, so the message does not have it.
        if not notifier.add(url):
            raise ConfigurationError(
                f"--to: URL {n} is none that Apprise knows. See "
                "https://github.com/caronc/apprise/wiki"
            )

    def send(changes: Changes) -> bool:
        bad = bool(changes.new or changes.repeated)
        kind = apprise.NotifyType.WARNING if bad else apprise.NotifyType.SUCCESS
        return bool(notifier.notify(title=changes.title, body=changes.body, notify_type=kind))

    return send


def _load(file: Path | None) -> dict[str, Known]:
    if file is None or not file.exists():
        return {}
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Known])
    except (msgspec.DecodeError, OSError) as error:
        raise ConfigurationError(f"--state {file} cannot be read: {error}. Delete it") from None


def _save(file: Path | None, alerts: Alerts) -> None:
    if file is None:
        return
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(msgspec.json.encode(alerts.known))
    new.replace(file)
