from celeriac.executor.error_text import describe, is_trace_cut, message_of
from celeriac.executor.executor import Executor
from celeriac.executor.report import FailedAttempt, Report

__all__ = ["Executor", "FailedAttempt", "Report", "describe", "is_trace_cut", "message_of"]
