"""`celery -A config bus`: the same commands, with the settings of the app's EventBus.

Every celery process imports this module, so it imports nothing else. In `celery … flower` it adds
celeriac's pages to Flower, without configuration.
"""

from __future__ import annotations

import sys
from typing import Any

import click


class LazyGroup(click.Group):
    """The group of celeriac's commands, imported on first use."""

    def _commands(self) -> Any:
        from celeriac.cli.group import COMMANDS, Commands

        commands = Commands(self.name)
        # not needed in an app that has workers
        commands.names = [
            name
            for name in COMMANDS
            if name not in ("archive", "dispatcher", "gateway", "init", "relay")
        ]
        return commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._commands().list_commands(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command: click.Command | None = self._commands().get_command(ctx, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        resolved: tuple[str | None, click.Command | None, list[str]]
        resolved = self._commands().resolve_command(ctx, args)
        return resolved

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._commands().format_commands(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        from celeriac.cli.group import failing_in_one_line

        with failing_in_one_line(ctx):
            return super().invoke(ctx)


@click.group(cls=LazyGroup)
@click.pass_context
def bus(ctx: click.Context) -> None:
    """Inspect and operate the event bus of the app."""
    from celeriac.cli.session import Session
    from celeriac.worker.app_services import services_of

    service = next(iter(services_of(ctx.obj.app)), None)
    if service is None:
        raise click.UsageError("The app has no event bus. Create one with EventBus(app).")
    app = ctx.obj.app

    def load_service() -> Any:
        app.loader.import_default_modules()
        return service

    ctx.obj = Session(service.settings, service.backend, load_service)


if "flower" in sys.argv[1:]:
    from celeriac.flower.plugin import put_into_flower

    put_into_flower()
