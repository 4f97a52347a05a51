"""What runs in the workers while faults are injected: the same work on celeriac and on Celery."""
