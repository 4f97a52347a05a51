"""Processes that span several events: with a state, timers, and undo, in the service's database."""

from celeriac.process.decision import Status
from celeriac.process.declared import on, reminded, starts
from celeriac.process.process import Process
from celeriac.process.table import create_processes, process_tables

__all__ = [
    "Process",
    "Status",
    "create_processes",
    "on",
    "process_tables",
    "reminded",
    "starts",
]
