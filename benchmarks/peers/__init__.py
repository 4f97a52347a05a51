"""The candidates: one small app each, imported by its producer and by its worker.

Each reads BENCH_URL and does the same work in its handler: `work.handle`.
"""
