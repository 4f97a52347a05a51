"""Flower's settings: `celery -A config flower --conf=config/flower.py`.

Flower executes this file and uses each variable that has the name of an option. The address and
the password come from the environment. Without an address, Flower listens on this machine only.
celeriac refuses another address without a password.
"""

import os

address = os.environ.get("FLOWER_ADDRESS", "")
if os.environ.get("FLOWER_PASSWORD"):
    basic_auth = [f"{os.environ.get('FLOWER_USER', 'admin')}:{os.environ['FLOWER_PASSWORD']}"]

# The bus keeps the events in Redis. Flower keeps the tasks that it shows in memory.
persistent = False
max_tasks = 20_000
tasks_columns = "name,state,kwargs,uuid,result,runtime,received,worker"
