"""Handlers in any language that fetch their deliveries over HTTP."""
