"""celeriac contracts"""

from __future__ import annotations

from pathlib import Path

import click

from celeriac.cli.contracts.code import Code, load_code
from celeriac.cli.contracts.report import (
    as_document,
    print_changed,
    print_judgement,
    summary,
)
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session
from celeriac.cli.show import count
from celeriac.cli.terminal import echo
from celeriac.contract.check import Sources
from celeriac.contract.git_locks import committed_locks
from celeriac.contract.lock import (
    DIRECTORY,
    Lock,
    decode_lock,
    encode_lock,
    lock_files,
    merged,
    read_locks,
    without,
)
from celeriac.errors import ConfigurationError
from celeriac.tracking.contracts import registered_writers, running_readers

app_option = click.option(
    "-A", "--app", "module", metavar="MODULE", help="Has the EventBus: package.module[:name]"
)
dir_option = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(DIRECTORY),
    show_default=True,
    help="Where the lock files are.",
)


@click.group()
def contracts() -> None:
    """Locks, checks and documents the versions of each event's data."""


@contracts.command()
@app_option
@dir_option
@click.option(
    "--forget",
    multiple=True,
    metavar="TYPE:VERSION",
    help="Leave out a version that the code has no more, as order.placed:1. Repeatable.",
)
@click.pass_context
def lock(ctx: click.Context, module: str | None, directory: Path, forget: tuple[str, ...]) -> None:
    """Writes the lock file of a service, for git.

    It holds the contracts that the service owns and what its handlers read. Versions that left the
    code stay in it, since their events may still be in the log: `--forget` removes them.
    """
    code = _code(ctx, module)
    path = directory / f"{code.lock.service}.json"
    written = merged(code.lock, _read(path))
    for text in forget:
        written = without(written, *_version(text))
    directory.mkdir(parents=True, exist_ok=True)
    content = encode_lock(written)
    changed = not path.exists() or path.read_bytes() != content
    path.write_bytes(content)
    versions = sum(map(len, written.contracts.values()))
    echo(
        f"{path} {'written' if changed else 'is up to date'}: {count(versions, 'version')} of "
        f"{count(len(written.contracts), 'event type')}, {count(len(written.readers), 'handler')}."
    )


@contracts.command()
@app_option
@dir_option
@click.option("--against", metavar="git:REF", help="The commit whose versions may be in the log.")
@click.option(
    "--with",
    "others",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Lock files of other services, from elsewhere. Repeatable.",
)
@click.option("--registry", is_flag=True, help="Also what running workers declared to Redis.")
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    module: str | None,
    directory: Path,
    against: str | None,
    others: tuple[Path, ...],
    registry: bool,
    as_json: bool,
) -> None:
    """Checks that every reader takes every version that may still be in the log.

    With `-A` the contracts and handlers of that service, by its code. Without it all lock files,
    each against all others. Exit code 1: a handler breaks, a version was changed, or a lock file is
    out of date.
    """
    code = load_code(module) if module else None
    files = lock_files(directory)
    for place in others:
        files |= lock_files(place)
    locks = read_locks(files)
    sources = Sources(
        own=code.lock if code else None,
        annotations=code.annotations if code else {},
        files=locks,
        before=read_locks(committed_locks(directory, against)) if against else {},
        before_name=against or "",
    )
    if registry:
        session = ctx.find_object(Session)
        assert session is not None
        sources.registered = registered_writers(session.backend)
        sources.running = running_readers(session.backend)
    stale = _stale(code, locks, directory)
    changed, judgement = sources.changed(), sources.judge()
    if as_json:
        print_json(as_document(changed, judgement, stale))
    else:
        print_changed(changed)
        print_judgement(sources, judgement)
        for line in stale:
            echo(line)
        echo(summary(judgement))
    if changed or stale or judgement.breaks:
        ctx.exit(1)


def _code(ctx: click.Context, module: str | None) -> Code:
    if not module:
        raise click.UsageError("give the module of the EventBus: -A package.module", ctx)
    return load_code(module)


def _read(path: Path) -> Lock | None:
    return decode_lock(path.read_bytes(), str(path)) if path.exists() else None


def _version(text: str) -> tuple[str, tuple[int]]:
    type_, _, number = text.rpartition(":")
    if not type_ or not number.isdigit():
        raise ConfigurationError(f"--forget {text!r}: write it like order.placed:1")
    return type_, (int(number),)


def _stale(code: Code | None, locks: dict[str, Lock], directory: Path) -> list[str]:
    """Lock files that are not what the code says."""
    if code is None:
        return []
    there = locks.get(code.lock.service)
    path = directory / f"{code.lock.service}.json"
    if there is None:
        return [f"{path} is missing. Run: celeriac contracts lock"]
    if encode_lock(merged(code.lock, there)) != encode_lock(there):
        return [f"{path} is not what the code says. Run: celeriac contracts lock"]
    return []
