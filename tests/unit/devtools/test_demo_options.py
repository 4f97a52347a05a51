from __future__ import annotations

import pytest

from devtools.demo.options import RATE, Options, parse


def test_by_default_it_is_a_stream_without_an_end() -> None:
    assert parse([]) == Options(
        events=None, rate=RATE, exit=False, json=False, port=5555, concurrency=None
    )


def test_a_number_of_orders_is_placed_as_fast_as_it_goes() -> None:
    assert parse(["--events", "60"]).rate is None
    assert parse(["--events", "60", "--rate", "5"]).rate == 5


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--exit"], "--exit needs --events"),
        (["--events", "0"], "--events 0: must be more than 0"),
        (["--rate", "-1"], "--rate -1.0: must be more than 0"),
        (["--concurrency", "0"], "--concurrency 0: must be more than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(argv)
    assert said in capsys.readouterr().err
