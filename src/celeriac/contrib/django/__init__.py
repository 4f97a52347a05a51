"""The Django app: put `celeriac.contrib.django` into INSTALLED_APPS.

It has the tables of outbox and inbox with their migration, lets `emit` within `transaction.atomic`
write into the outbox, and imports `events.py` and `handlers.py` of every app.
"""
