from celeriac.executor.executor import Executor
from celeriac.executor.report import FailedAttempt, Report

__all__ = ["Executor", "FailedAttempt", "Report"]
