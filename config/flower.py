"""Flower's settings: `celery -A config flower --conf=config/flower.py`.

Flower executes this file and takes each variable that is named like one of its options. The
address and the password come from the environment; without a password it stays on this machine.
"""

import os

address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
if os.environ.get("FLOWER_PASSWORD"):
    basic_auth = [f"{os.environ.get('FLOWER_USER', 'admin')}:{os.environ['FLOWER_PASSWORD']}"]
elif address not in ("127.0.0.1", "::1", "localhost"):
    raise SystemExit(f"FLOWER_ADDRESS={address} reaches others; set FLOWER_PASSWORD as well")

# What happened is in the bus, which forgets nothing; Flower keeps in memory what it shows.
persistent = False
max_tasks = 20_000
tasks_columns = "name,state,kwargs,uuid,result,runtime,received,worker"
