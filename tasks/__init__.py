"""Celery tasks that emit events. They are ordinary tasks, on the same apps as the handlers."""
