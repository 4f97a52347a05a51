"""Flower shows the bus: events, matrix, services, dead letters, in its own look and behind its own
authentication.

`celery -A app flower` finds this by itself, where celeriac is installed: see `plugin`.
"""
