"""Groups of commands: imported on use; errors become one line and an exit code."""

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
    "top": "Show what every handler does now, live.",
    "tail": "Follow new events as they are emitted.",
    "explain": "Show why a handler did or did not get an event.",
    "history": "List every attempt of an event, and who redrove it.",
    "trace": "Show the causes and the consequences of an event.",
    "status": "Show where an event is, and the state of each delivery.",
    "events": "List the newest events and their progress.",
    "lag": "Show the backlog of each handler.",
    "dead": "List, show, redrive, edit and discard dead letters.",
    "process": "List, show and abort instances of processes.",
    "replay": "Run past events through one handler again.",
    "emit": "Emit one event and print its id.",
    "cancel": "Cancel an event that was emitted with a delay.",
    "schedules": "List the schedules, with their last and next ticks.",
    "handlers": "List, pause, resume and remove handlers.",
    "workers": "List the workers.",
    "contracts": "Lock, check and document the versions of each event's data.",
    "config": "Show and change the settings that the whole bus shares.",
    "acl": "Print the Redis user of a service, with the least permissions.",
    "keys": "Create and show the keys for signing and encryption.",
    "doctor": "Check server, workers and handlers, and suggest fixes.",
    "watch": "Send a notification when a problem appears or is resolved.",
    "outbox": "Show an outbox, and retry or discard failed events.",
    "relay": "Publish the events of an outbox.",
    "dispatcher": "Run the dispatcher of a service without a worker.",
}


class Commands(click.Group):
    """A group whose commands are in `celeriac.cli.<name>`, which `--help` does not import."""

    names: Sequence[str] = tuple(COMMANDS)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.names:
            return None
        command = getattr(import_module(f"celeriac.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.names])

    def invoke(self, ctx: click.Context) -> Any:
        with failing_in_one_line(ctx):
            return super().invoke(ctx)


@contextmanager
def failing_in_one_line(ctx: click.Context) -> Iterator[None]:
    """Turn errors of celeriac and Redis into a Failure."""
    try:
        yield
    except redis.RedisError as error:
        raise _failure(_explained(ctx, error)) from None
    except CeleriacError as error:
        raise _failure(error) from None


class CommandError(click.ClickException):
    """End the command with one line."""

    exit_code = FAILED

    def format_message(self) -> str:
        return visible(self.message)


class CommandUsageError(CommandError):
    """An argument or a setting is wrong."""

    exit_code = USAGE


class Unreachable(CommandError):
    """Redis is unreachable or full."""

    exit_code = UNREACHABLE


def _failure(error: CeleriacError) -> CommandError:
    if isinstance(error, (BusUnavailable, LogFull)):
        return Unreachable(str(error))
    if isinstance(error, (ConfigurationError, InvalidEvent)):
        return CommandUsageError(str(error))
    return CommandError(str(error))


def _explained(ctx: click.Context, error: redis.RedisError) -> CeleriacError:
    settings = ctx.obj.settings
    return explain(error, url=settings.redis_url, tries=1, seconds=answer_time(settings))
