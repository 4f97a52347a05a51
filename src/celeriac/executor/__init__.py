from celeriac.executor.executor import Executor, describe
from celeriac.executor.report import FailedAttempt, Report

__all__ = ["Executor", "FailedAttempt", "Report", "describe"]
