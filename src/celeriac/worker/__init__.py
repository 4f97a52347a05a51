from celeriac.worker.app import make_app
from celeriac.worker.bootstep import install
from celeriac.worker.tasks import register

__all__ = ["install", "make_app", "register"]
