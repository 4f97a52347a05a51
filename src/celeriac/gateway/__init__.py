"""Receive events and webhooks over HTTP: an ASGI application. Needs `celeriac[gateway]`."""

from celeriac.extra import needing

with needing("gateway", "celeriac.gateway"):
    from celeriac.gateway.app import gateway
    from celeriac.gateway.context import GatewayContext, RouteModule
    from celeriac.gateway.hook import (
        GitHub,
        Hook,
        HookReply,
        Slack,
        StandardWebhooks,
        Stripe,
        Webhook,
    )
    from celeriac.gateway.limits import Limits
    from celeriac.gateway.token import Token

__all__ = [
    "GatewayContext",
    "GitHub",
    "Hook",
    "HookReply",
    "Limits",
    "RouteModule",
    "Slack",
    "StandardWebhooks",
    "Stripe",
    "Token",
    "Webhook",
    "gateway",
]
