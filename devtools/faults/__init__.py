"""The promises of celeriac under every fault that we can inject, and stock Celery beside it.

`python -m devtools.faults` injects each fault of the table into a running system under load,
and compares what the handlers did with what emit had accepted.
"""
