"""Handlers behind HTTP, and webhooks for customers."""

from celeriac.push.endpoint import Endpoint
from celeriac.push.signature import new_secret

__all__ = ["Endpoint", "new_secret"]
