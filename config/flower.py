"""Flower's settings: `celery -A config flower --conf=config/flower.py`.

Flower executes this file and takes each variable that is named like one of its options. The
address and the password come from the environment. Without an address it stays on this machine,
and celeriac refuses another one where there is no password.
"""

import os

address = os.environ.get("FLOWER_ADDRESS", "")
if os.environ.get("FLOWER_PASSWORD"):
    basic_auth = [f"{os.environ.get('FLOWER_USER', 'admin')}:{os.environ['FLOWER_PASSWORD']}"]

# What happened is in the bus, which forgets nothing; Flower keeps in memory what it shows of tasks.
persistent = False
max_tasks = 20_000
tasks_columns = "name,state,kwargs,uuid,result,runtime,received,worker"
