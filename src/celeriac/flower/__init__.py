"""Pages of the bus in Flower: events, matrix, services, dead letters.

They use Flower's look and its authentication. `celery -A app flower` finds this package if celeriac
is installed: see `plugin`.
"""
