"""Places orders, one in each transaction, and rolls a third of them back. Prints nothing."""

from __future__ import annotations

import sys
from contextlib import suppress

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from mysite import bus  # noqa: E402
from shop.models import Order  # noqa: E402


class ChangedMyMind(Exception):
    pass


def place(number: int) -> None:
    with transaction.atomic():
        Order.objects.create(number=f"{number}")
        bus.emit("order.placed", id=f"order-{number}", subject=f"order/{number}")
        if number % 3 == 0:
            raise ChangedMyMind


if sys.argv[1] == "migrate":
    call_command("migrate", run_syncdb=True, verbosity=0)
else:
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        with suppress(ChangedMyMind):
            place(number)
