"""Groups of commands: imported on use; errors become one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
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
    "init": "Create a service that runs, with tests and CI.",
    "top": "Show what every handler does now, live.",
    "tail": "Follow new events as they are emitted.",
    "explain": "Show why a handler did or did not get an event.",
    "history": "List every attempt of an event, and who redrove it.",
    "trace": "Show the causes and the consequences of an event.",
    "status": "Show where an event is, and the state of each delivery.",
    "events": "List the newest events and their progress.",
    "lag": "Show the backlog of each handler.",
    "scale": "Show how many workers a service needs, and why.",
    "dead": "List, show, redrive, edit and discard dead letters.",
    "process": "List, show and abort instances of processes.",
    "replay": "Run past events through one handler again.",
    "emit": "Emit one event and print its id.",
    "cancel": "Cancel an event that was emitted with a delay.",
    "schedules": "List the schedules, with their last and next ticks.",
    "requests": "Show how requests ended, and how long replies took.",
    "handlers": "List, pause, resume and remove handlers.",
    "workers": "List the workers.",
    "contracts": "Lock, check and document the versions of each event's data.",
    "config": "Show and change the settings that the whole bus shares.",
    "acl": "Print the Redis user of a service, with the least permissions.",
    "erase": "Make the data of a subject unreadable permanently.",
    "keys": "Create and show the keys for signing and encryption.",
    "doctor": "Check server, workers and handlers, and suggest fixes.",
    "watch": "Send a notification when a problem appears or is resolved.",
    "outbox": "Show an outbox, and retry or discard failed events.",
    "relay": "Publish the events of an outbox.",
    "archive": "Store all events in Parquet files, by domain and day.",
    "gateway": "Receive events and webhooks over HTTP.",
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            # click itself suggests only commands that are imported
            if close := get_close_matches(args[0], self.names):
                names = " or ".join(repr(name) for name in close)
                ctx.fail(f"No such command {args[0]!r}. Did you mean {names}?")
            raise

    def invoke(self, ctx: click.Context) -> Any:
        with failing_in_one_line(ctx):
            try:
                return super().invoke(ctx)
            except click.NoSuchOption as error:
                raise self._misplaced(ctx, error) or error from None

    def _misplaced(self, ctx: click.Context, error: click.NoSuchOption) -> click.UsageError | None:
        """Return the error for an option of this group after a command; None for another."""
        name, group = error.option_name, ctx.command_path
        if error.ctx is None or not any(name in option.opts for option in self.params):
            return None
        command = error.ctx.command_path.removeprefix(group)
        return click.UsageError(
            f"{name} must be before the command: {group} {name} …{command}", ctx=error.ctx
        )


@contextmanager
def failing_in_one_line(ctx: click.Context) -> Iterator[None]:
    """Turn errors of celeriac, of Redis, of files and of arguments into a CommandError."""
    try:
        yield
    except redis.RedisError as error:
        raise _failure(_explained(ctx, error)) from None
    except CeleriacError as error:
        raise _failure(error) from None
    except UnicodeEncodeError as error:
        if error.encoding != "utf-8":  # the terminal's
            raise
        # A shell passes bytes that are not UTF-8 as lone surrogates, which no server gets.
        raise CommandUsageError("an argument is not valid UTF-8. Check its characters.") from None
    except OSError as error:
        if error.filename is None:
            raise
        raise CommandError(
            f"{error.filename}: {error.strerror}. Check the path and its permissions."
        ) from None


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
