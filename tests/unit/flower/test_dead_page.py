"""What the page of dead letters reads."""

from __future__ import annotations

from typing import Any

from celeriac.dead_letter import Choice
from celeriac.flower.view.action import ActionRequest
from celeriac.flower.view.dead import MAX_GROUPS, choice_arguments, read_dead
from celeriac.settings import Settings
from celeriac.tracking import Matrix
from tests.unit.tracking.shop import Shop, memory_backend


def test_of_many_groups_the_largest_are_shown_and_all_are_counted() -> None:
    def fail(event: Any) -> None:
        raise type(f"Error{event.data:03}", (Exception,), {})

    settings = Settings.load({})
    shop = Shop(memory_backend(settings), settings)
    shop.on("billing.charge", "order.placed", function=fail, retries=0)
    shop.start()
    for n in [*range(MAX_GROUPS + 5), MAX_GROUPS + 4]:
        shop.emit("order.placed", n)
    for _ in range(3):
        shop.run_until_idle()
    read = read_dead(Matrix(shop.backend), Choice(), "")
    assert (MAX_GROUPS, 5, MAX_GROUPS + 6) == (len(read.groups), read.more_groups, read.total)
    assert (2, "Error104") == (read.groups[0].count, read.groups[0].exception)
    assert all(group.newest is not None for group in read.groups)
    assert ["billing.charge"] == read.handlers


def test_a_dead_letter_shows_its_tenant_and_is_chosen_by_it() -> None:
    def fail(event: Any) -> None:
        raise ValueError

    settings = Settings.load({})
    shop = Shop(memory_backend(settings), settings)
    shop.on("billing.charge", "order.placed", function=fail, retries=0)
    shop.start()
    for tenant in ("acme", None, "globex"):
        shop.emit("order.placed", tenant=tenant)
    shop.run_until_idle()
    read = read_dead(Matrix(shop.backend), Choice(handler="billing.charge"), "")
    assert sorted(letter.tenant for letter in read.dead_letters) == ["", "acme", "globex"]
    choice = Choice(tenant="acme")
    assert [x.tenant for x in read_dead(Matrix(shop.backend), choice, "").dead_letters] == ["acme"]
    assert choice_arguments(choice) == {"tenant": "acme"}
    request = ActionRequest(tenant="acme")
    assert (request.choice, request.what()) == (choice, "tenant=acme")
