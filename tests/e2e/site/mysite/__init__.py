from mysite.celery import app, bus

__all__ = ["app", "bus"]
