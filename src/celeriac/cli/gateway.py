"""`celeriac gateway`"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from celeriac.cli.foreground import log_to_stderr, stop_on_signals
from celeriac.cli.session import Session, pass_session
from celeriac.extra import needing

if TYPE_CHECKING:
    from celeriac.bus import EventBus

logger = logging.getLogger(__name__)

# After SIGTERM, requests get this long to end; an emit takes emit_timeout at most.
GRACE_SECONDS = 10


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option(
    "-A", "--app", "module", metavar="MODULE", help="Use this module's EventBus and its types."
)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with tokens, hooks and limits.",
    required=True,
)
@pass_session
def gateway(session: Session, host: str, port: int, module: str | None, path: Path) -> None:
    """Receive events and webhooks over HTTP, and serve handlers in other languages.

    POST /events takes CloudEvents, POST /hooks/NAME webhooks; handlers fetch their deliveries at
    /v1/handlers/ID. Any number of gateways can run.
    SIGTERM and SIGINT stop it after the requests that it received.
    """
    with needing("gateway", "celeriac gateway"):
        import uvicorn

        from celeriac.gateway import gateway as make_gateway
        from celeriac.gateway.config import read_config
        from celeriac.gateway.server import serve
    log_to_stderr()
    config = read_config(path)
    bus = _bus(session, module)
    app = make_gateway(bus, tokens=config.tokens, hooks=config.hooks, limits=config.limits)
    # uvicorn has its own handlers while it runs, and raises the signal again at its end.
    stop_on_signals(lambda: None)
    logger.info("celeriac: gateway on %s:%d", host, port)
    serve(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        ),
        app.state.stop_waiting,
    )
    logger.info("celeriac: gateway stopped")


def _bus(session: Session, module: str | None) -> EventBus:
    from celeriac.bus import EventBus
    from celeriac.cli.dispatcher import find_bus

    if module is None:
        settings = session.settings
        return EventBus(redis_url=settings.redis_url, namespace=settings.namespace)
    bus = find_bus(module)
    # The types are declared in the modules of the service.
    bus.app.loader.import_default_modules()
    return bus
