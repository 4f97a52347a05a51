"""`celeriac watch`"""

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
from celeriac.cli.watch.alert import Alert, Alerts, Changes, KnownAlert, Level, alerts_of
from celeriac.cli.watch.rule import Rules, dead_rules, pairs
from celeriac.errors import ConfigurationError
from celeriac.extra import needing
from celeriac.store.redis.connection import address

Send = Callable[[Changes], bool]


@click.command()
@click.option(
    "--to", "urls", multiple=True, metavar="URL", envvar="CELERIAC_ALERT_URLS",
    help="Apprise URL for notifications. Repeatable. [CELERIAC_ALERT_URLS]",
)  # fmt: skip
@click.option(
    "--every", type=DURATION, default=30.0, help="Time between two checks. [default: 30s]"
)
@click.option(
    "--level", type=click.Choice(["warn", "fail"]), default="fail", show_default=True,
    help="Lowest level of doctor's findings.",
)  # fmt: skip
@click.option(
    "--dead", multiple=True, metavar="PATTERN[=N]", help="At least N dead letters of a type. [1]"
)
@click.option(
    "--lag", multiple=True, metavar="HANDLER=SECONDS", help="Longer lag than this: billing.*=60"
)
@click.option("--workers", multiple=True, metavar="SERVICE=N", help="Fewer running workers than N.")
@click.option(
    "--after", type=click.IntRange(1), default=2, show_default=True,
    help="Consecutive checks before a notification or recovery.",
)  # fmt: skip
@click.option(
    "--repeat", type=DURATION, help="Time after which a lasting alert is sent again. [never]"
)
@click.option(
    "--state", type=click.Path(dir_okay=False), help="File that keeps alerts across restarts."
)
@click.option("--once", is_flag=True, help="Check once and exit.")
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
    """Send a notification when a problem appears or is resolved.

    Checks what doctor checks, and the given rules. Each alert is sent once, and again if it gets
    worse. Notifications are also printed; without --to they are only printed.
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
        current, is_partial = _current_alerts(session, rules, level)
        changes = alerts.update(current, now, is_partial=is_partial)
        if changes:
            echo(f"{changes.title}\n{changes.body}")
            if send(changes):
                alerts.sent(changes, now)
            else:
                echo(
                    "Sending the notification failed. It is sent again after the next check.",
                    err=True,
                )
        _save(file, alerts)
        if once:
            return
        time.sleep(every)


def _current_alerts(session: Session, rules: Rules, level: Level) -> tuple[list[Alert], bool]:
    """Return the current alerts, and whether an error of Redis hides others."""
    try:
        snapshot = examine(session)
        findings = [finding for check in CHECKS for finding in check(snapshot)]
        return [*alerts_of(findings, level), *rules.check(session.backend)], False
    except redis.RedisError as error:
        text = f"Redis at {address(session.settings.redis_url)}: {type(error).__name__}"
        return [Alert(key="redis", level="fail", text=text, remedy="celeriac doctor")], True


def _sender(urls: Sequence[str]) -> Send:
    """Return a function that sends changes and returns whether every URL accepted them."""
    if not urls:
        return lambda changes: True
    with needing("alerts", "celeriac watch --to"):
        import apprise
    notifier = apprise.Apprise()
    for n, url in enumerate(urls, 1):
        # The URL can hold a password, so the message does not contain it.
        if not notifier.add(url):
            raise ConfigurationError(
                f"--to is not a URL of Apprise: URL {n}. See https://github.com/caronc/apprise/wiki"
            )

    def send(changes: Changes) -> bool:
        bad = bool(changes.new or changes.repeated)
        kind = apprise.NotifyType.WARNING if bad else apprise.NotifyType.SUCCESS
        return bool(notifier.notify(title=changes.title, body=changes.body, notify_type=kind))

    return send


def _load(file: Path | None) -> dict[str, KnownAlert]:
    if file is None or not file.exists():
        return {}
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, KnownAlert])
    except (msgspec.DecodeError, OSError) as error:
        raise ConfigurationError(f"--state {file} cannot be read: {error}. Delete it.") from None


def _save(file: Path | None, alerts: Alerts) -> None:
    if file is None:
        return
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(msgspec.json.encode(alerts.known))
    new.replace(file)
