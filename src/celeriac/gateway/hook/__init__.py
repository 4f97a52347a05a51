"""Webhooks of other systems: how each one signs its requests, and how they become events."""

from celeriac.gateway.hook.github import GitHub
from celeriac.gateway.hook.hook import Hook, HookReply, Webhook
from celeriac.gateway.hook.slack import Slack
from celeriac.gateway.hook.standard_webhooks import StandardWebhooks
from celeriac.gateway.hook.stripe import Stripe

__all__ = ["GitHub", "Hook", "HookReply", "Slack", "StandardWebhooks", "Stripe", "Webhook"]
