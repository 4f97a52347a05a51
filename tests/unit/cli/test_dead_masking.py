"""Dead letters on the command line: the setting `sensitive` masks what no event marks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

from celeriac.cli.root import main
from celeriac.cli.session import Session
from tests.unit.cli.conftest import refuse
from tests.unit.tracking.shop import Shop


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("command", ["show", "list"])
def test_dead_letters_are_masked_by_the_setting(
    shop: Shop, command: str, options: tuple[str, ...]
) -> None:
    shop.on("billing.charge", "order.placed", function=refuse, retries=0)
    shop.start()
    shop.emit("order.placed", {"card": "4111-1111", "n": 7})
    shop.run_until_idle()
    (letter,) = shop.backend.deliveries.dead("order")
    session = Session(replace(shop.settings, sensitive="card"), shop.backend)
    name = (f"order/{letter.id}",) if command == "show" else ()
    answer = CliRunner().invoke(main, ["dead", command, *name, *options], obj=session)
    assert answer.exit_code == 0
    assert "4111-1111" not in answer.stdout
    if options or command == "show":
        assert "***" in answer.stdout
