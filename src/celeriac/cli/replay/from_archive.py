"""Replay from an archive."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from celeriac.cli.json_output import iso
from celeriac.cli.replay.request import ReplayRequest
from celeriac.cli.session import Session
from celeriac.cli.show import count
from celeriac.cli.terminal import echo, make_console
from celeriac.extra import needing

if TYPE_CHECKING:
    from celeriac.archive.replay import ArchiveReplayer
    from celeriac.archive.replay_options import ArchiveReplayOptions, Progress


def replay_from_archive(
    session: Session, request: ReplayRequest, url: str, *, again: bool, replaces: bool
) -> None:
    """Count the events, ask for confirmation, and schedule them; or continue a replay."""
    with needing("archive", "celeriac replay --from"):
        from celeriac.archive.replay import ArchiveReplayer
        from celeriac.archive.replay_options import ArchiveReplayOptions
        from celeriac.archive.storage import Storage
    options = ArchiveReplayOptions(
        url=url,
        since_ms=request.since_ms,
        until_ms=request.until_ms,
        pattern=request.pattern,
        tenant=request.tenant,
    )
    storage = Storage(url, creates=False)
    past = ArchiveReplayer(session.backend, storage, request.record, options, _about(options))
    if (request.dry_run or not request.yes) and not request.is_agreed(past.count()):
        return
    note = request.note(f" from {url}", past.operation)
    if not past.begin(note, again=again, replaces=replaces):
        done = count(past.progress.scheduled, "event")
        echo(
            f"This replay is finished: {done} scheduled for {request.record.id}. "
            "To run them again, add --again."
        )
        return
    if before := past.progress.scheduled:
        echo(f"Continuing after {count(before, 'event')}.", err=True)
    end = _run(past, note)
    echo(f"{count(end.scheduled, 'event')} scheduled for {request.record.id}")
    if end.kept:
        echo(f"{count(end.kept, 'unfinished delivery', 'unfinished deliveries')} left as they are")


def _run(past: ArchiveReplayer, note: bytes) -> Progress:
    from rich.progress import Progress as Bar

    with Bar(console=make_console(err=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=past.files)

        def report(at: Progress) -> None:
            verb = f"replaying {at.domain}"
            if at.is_waiting:
                verb = f"waiting for {past.record.service} to catch up"
            bar.update(
                task,
                completed=at.files,
                description=f"{verb}: {count(at.scheduled, 'event')} scheduled, files",
            )

        try:
            return past.run(note, report)
        except KeyboardInterrupt:
            echo("Interrupted. Run the same command again to continue.", err=True)
            raise


def _about(options: ArchiveReplayOptions) -> str:
    """Return the arguments as they can be given again."""
    until = f" --until {iso(options.until_ms)}" if options.until_ms is not None else ""
    of = f" --type '{options.pattern}'" if options.pattern is not None else ""
    of += f" --tenant '{options.tenant}'" if options.tenant is not None else ""
    return f"--since {iso(options.since_ms)}{until}{of} --from {options.url}"
