from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from celeriac.cli.root import main
from celeriac.cli.session import Session
from celeriac.settings import Settings
from celeriac.store.memory.clock import MemoryClock
from tests.unit.tracking.shop import Shop, memory_backend


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def clock() -> MemoryClock:
    return MemoryClock()


@pytest.fixture
def shop(clock: MemoryClock) -> Shop:
    settings = Settings.load({}, source="test")
    return Shop(memory_backend(settings, clock), settings)


@pytest.fixture
def run(shop: Shop) -> Run:
    """Runs a command on the shop; `input` answers its questions."""

    def invoke(*arguments: str, input: str | None = None) -> Answer:
        session = Session(shop.settings, shop.backend)
        result = CliRunner().invoke(main, arguments, obj=session, input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return invoke


def refuse(_: object) -> None:
    """What a handler does that fails."""
    raise ValueError("declined")
