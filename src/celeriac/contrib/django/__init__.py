"""The Django app: add `celeriac.contrib.django` to INSTALLED_APPS.

It has the tables of outbox and inbox with their migration, makes `emit` within `transaction.atomic`
write to the outbox, and imports `events.py` and `handlers.py` of every app.
"""
