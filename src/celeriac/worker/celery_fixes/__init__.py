"""Workarounds for bugs and gaps of Celery, kombu and billiard: one file each.

Each file names the versions, what goes wrong, and when the workaround can be removed.
"""
