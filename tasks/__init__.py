"""The Celery tasks that emit. They are ordinary tasks, beside the handlers on the same app."""
