"""Numbers, times and states as pages show them."""

from __future__ import annotations

import pytest

from celeriac.delivery import Failure, Restart
from celeriac.flower import show
from celeriac.flower.svg.attempts import attempts_of, spans
from celeriac.flower.svg.causes import HEIGHT, draw
from celeriac.flower.svg.sparkline import sparkline
from celeriac.tracking import MEANINGS, Cause, Cell, DeliveryState, Minute


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (0.0004, "400 µs"), (1.26, "1.3 s"),
    ],
)  # fmt: skip
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert text == show.duration(seconds)


def test_rates_counts_and_shares_are_short() -> None:
    assert ["–", "1/min", "3/min", "0.4/s", "9.9/s", "120/s"] == [
        show.rate(rate) for rate in (0, 0.001, 0.05, 0.4, 9.9, 120.2)
    ]
    assert ["0", "99,999", "100 k", "1.2 M"] == [
        show.count(n) for n in (0, 99_999, 100_000, 1_200_000)
    ]
    assert ["–", "0 %", "0.1 %", "12 %", "100 %"] == [
        show.share(part) for part in (None, 0, 0.0001, 0.12, 1)
    ]
    assert ["1 event", "2 events", "2 processes"] == [
        show.plural(1, "event"), show.plural(2, "event"), show.plural(2, "process")
    ]  # fmt: skip


def test_an_event_is_as_bad_as_its_worst_cell() -> None:
    cells = [
        cell(state=DeliveryState.PROCESSED),
        cell(state=DeliveryState.DEAD),
        cell(state=DeliveryState.WAITING),
    ]
    assert DeliveryState.DEAD == show.overall(cells)
    assert 1 == show.done(cells)
    assert "1 dead, 1 waiting, 1 processed" == show.summary(cells)
    assert None is show.overall([])


def test_every_state_has_a_severity_and_a_description() -> None:
    assert set(DeliveryState) == set(show.SEVERITY) == set(MEANINGS)


def cell(state: DeliveryState = DeliveryState.PROCESSED, **more: object) -> Cell:
    return Cell(handler="billing.charge", service="billing", state=state, **more)  # type: ignore[arg-type]


def failure(attempt: int, at: int, took: int = 0) -> Failure:
    return Failure(attempt=attempt, at=at, error="Boom", took=took, worker="w@h/1")


def test_each_attempt_has_its_wait_and_its_run() -> None:
    done = cell(attempts=2, at_ms=5000, took_us=100_000, failures=(failure(1, 2000, took=500_000),))
    first, second = attempts_of(done, 1000, 9000)
    assert (1, "failed", 0.5, 0.5) == (first.number, first.result, first.waited_s, first.ran_s)
    assert (2, "processed", 2.9, 0.1) == (
        second.number,
        second.result,
        second.waited_s,
        second.ran_s,
    )
    assert "w@h/1" == first.worker


def test_the_last_attempt_of_a_dead_delivery_is_the_one_that_failed() -> None:
    dead = cell(
        DeliveryState.DEAD, attempts=2, at_ms=3000, failures=(failure(1, 2000), failure(2, 3000))
    )
    assert ["failed", "dead"] == [one.result for one in attempts_of(dead, 1000, 9000)]


def test_attempts_of_earlier_lives_stay_and_the_restart_is_named() -> None:
    note = '{"actor":"ann","did":"redrive","what":"all","via":"celeriac"}'
    redriven = cell(
        attempts=1, at_ms=9000, took_us=100_000, failures=(failure(1, 2000), failure(2, 3000)),
        restarts=(Restart(at=8000, note=note),),
    )  # fmt: skip
    *failed, last = attempts_of(redriven, 1000, 9000)
    assert ["1.1", "1.2"] == [one.key for one in failed]
    assert ("2.1", "processed", "redrive by ann in celeriac") == (
        last.key, last.result, last.begun_by,
    )  # fmt: skip
    assert 0.9 == last.waited_s, "since the redrive"


def test_what_a_replayed_delivery_did_before_stays() -> None:
    replays = (
        Restart(at=4000, life=2, ended="processed", attempts=1, ended_at=2000, took=1000),
        Restart(at=6000, life=3, ended="processed", attempts=1, ended_at=5000),
    )
    found = attempts_of(cell(attempts=1, at_ms=9000, restarts=replays), 1000, 9000)
    assert ["1.1", "2.1", "3.1"] == [one.key for one in found]
    assert ["", "redriven", "redriven"] == [one.begun_by for one in found]
    assert [2000.0, 5000.0, 9000.0] == [one.ended_ms for one in found]


def test_an_attempt_under_way_runs_until_now() -> None:
    [running] = attempts_of(cell(DeliveryState.RUNNING, attempts=1, at_ms=2000), 1000, 6000)
    assert ("running", 1.0, 4.0) == (running.result, running.waited_s, running.ran_s)


def test_what_has_not_begun_has_no_attempt() -> None:
    assert [] == attempts_of(cell(DeliveryState.WAITING), 1000, 6000)


def test_clocks_that_differ_do_not_make_times_negative() -> None:
    """A failure is stamped by the worker's clock, everything else by the server's."""
    skewed = cell(attempts=2, at_ms=1500, took_us=900_000, failures=(failure(1, 100, took=1000),))
    for one in attempts_of(skewed, 1000, 2000):
        assert one.waited_s >= 0 and one.ran_s >= 0 and one.started_ms >= 1000


def test_every_run_is_seen_and_within_the_picture() -> None:
    done = cell(attempts=1, at_ms=1_000_000, took_us=1)
    [span] = spans(attempts_of(done, 0, 1_000_000), 0, 1_000_000)
    assert span.run >= 4
    assert 0 <= span.x <= span.run_x and span.run_x + span.run <= 1000


def test_the_bars_of_an_hour_are_within_their_box() -> None:
    assert [] == sparkline([Minute(0, 0)] * 60)
    bars = sparkline([Minute(0, 0)] * 57 + [Minute(1, 0), Minute(0, 1), Minute(500, 500)])
    assert 4 == len(bars) and 2 == sum(bar.failed for bar in bars)
    assert all(bar.height >= 1.5 and bar.y >= 0 and bar.y + bar.height <= 24 for bar in bars)


def test_a_tree_is_laid_out_without_boxes_on_boxes() -> None:
    nodes = [
        Cause(id="a", key="a", type="a.x", domain="a"),
        Cause(id="b", key="b", type="b.x", domain="b", depth=1, parent="a", handler="s.one"),
        Cause(id="c", key="c", type="c.x", domain="c", depth=2, parent="b", handler="s.two"),
        Cause(id="d", key="d", type="d.x", domain="d", depth=1, parent="a", handler="s.three"),
        Cause(
            id="e", key="e", type="e." + "x" * 80, domain="e", depth=2, parent="d", handler="s.four"
        ),
    ]
    drawn = draw(nodes)
    positions = {(box.x, box.y) for box in drawn.boxes}
    assert 5 == len(positions) and 4 == len(drawn.edges)
    a, b, c, d, e = drawn.boxes
    assert a.y == b.y == c.y and d.y == e.y == a.y + HEIGHT + 16
    assert all(box.x + 212 <= drawn.width and box.y + HEIGHT <= drawn.height for box in drawn.boxes)
    assert len(e.label) == 26 and e.label.endswith("…")
    assert (4, 4) == (draw([]).width - 210, draw([]).height - 52)


def test_a_name_breaks_between_its_words_and_is_escaped() -> None:
    assert show.breakable("refund_payment.v2") == "refund_<wbr>payment.<wbr>v2"
    assert show.breakable("<b>") == "&lt;b&gt;"
