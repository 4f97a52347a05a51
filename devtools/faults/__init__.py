"""Inject faults into celeriac, and the same faults into stock Celery, and count the losses.

`python -m devtools.faults` injects each fault of the table into a running system under load,
and compares what the handlers did with what emit had accepted.
"""
