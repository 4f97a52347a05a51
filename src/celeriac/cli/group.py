"""Groups of commands: imported when they are run, and failing with one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click
import redis

from celeriac.errors import (
    BusUnavailable,
    CeleriacError,
    ConfigurationError,
    InvalidEvent,
    LogFull,
)
from celeriac.store.redis.connection import answer_time, explain
from celeriac.visible import visible

FAILED, USAGE, MISSING, UNREACHABLE = 1, 2, 3, 4

# In the order of the help.
COMMANDS = {
    "top": "What every handler does now, live.",
    "tail": "Follows new events, as they are emitted.",
    "explain": "Why a handler did, or did not, get an event.",
    "history": "Every attempt of an event, and who redrove it.",
    "trace": "What an event came from, and what came of it.",
    "status": "Where an event is, and what each handler did with it.",
    "events": "The newest events, and how far each is.",
    "lag": "How far behind each handler is.",
    "dead": "Lists, shows, redrives, edits and discards dead letters.",
    "replay": "Runs past events through one handler again.",
    "emit": "Emits one event, and prints its id.",
    "handlers": "Lists the handlers, or removes one.",
    "workers": "Lists the workers.",
    "contracts": "Locks, checks and documents the versions of each event's data.",
    "config": "Shows and changes the settings that the whole bus shares.",
    "acl": "Prints the Redis user of a service: what it may do, and no more.",
    "keys": "Makes and shows the keys that events are signed with.",
    "doctor": "Checks server, workers and handlers, and says what to do.",
    "watch": "Sends a notice when something is wrong, and when it is over.",
    "outbox": "Shows what waits in an outbox, and deals with what is failed.",
    "relay": "Publishes what was committed into an outbox.",
    "dispatcher": "Runs the dispatcher of a service without a worker.",
}


class Commands(click.Group):
    """A group whose commands lie in `celeriac.cli.<name>`: `--help` imports none of them."""

    names: Sequence[str] = tuple(COMMANDS)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.names:
            return None
        found = getattr(import_module(f"celeriac.cli.{cmd_name}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.names])

    def invoke(self, ctx: click.Context) -> Any:
        with failing_in_one_line(ctx):
            return super().invoke(ctx)


@contextmanager
def failing_in_one_line(ctx: click.Context) -> Iterator[None]:
    """What celeriac and Redis raise ends the command as a Failure."""
    try:
        yield
    except redis.RedisError as error:
        raise _failure(_explained(ctx, error)) from None
    except CeleriacError as error:
        raise _failure(error) from None


class Failure(click.ClickException):
    """Ends the command with one line."""

    exit_code = FAILED

    def format_message(self) -> str:
        return visible(self.message)


class CommandUsageError(Failure):
    """What was asked for, or a setting, is wrong."""

    exit_code = USAGE


class Unreachable(Failure):
    """Redis does not take part."""

    exit_code = UNREACHABLE


def _failure(error: CeleriacError) -> Failure:
    if isinstance(error, (BusUnavailable, LogFull)):
        return Unreachable(str(error))
    if isinstance(error, (ConfigurationError, InvalidEvent)):
        return CommandUsageError(str(error))
    return Failure(str(error))


def _explained(ctx: click.Context, error: redis.RedisError) -> CeleriacError:
    settings = ctx.obj.settings
    return explain(error, url=settings.redis_url, tries=1, seconds=answer_time(settings))
