"""Whose logs a worker touches: those of an app that celeriac made, and where it is asked."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.log import TaskFormatter

from celeriac.event import HandlingContext, build_event
from celeriac.observability.logging import JsonFormatter, KeyValueFormatter, SuffixFormatter
from celeriac.settings import Settings
from celeriac.worker.logs import formatter, install_logs


@pytest.fixture(autouse=True)
def receivers() -> Iterator[None]:
    """Leaves the signals as they were."""
    kinds: list[Any] = [signals.after_setup_logger, signals.after_setup_task_logger]
    before = [list(kind.receivers) for kind in kinds]
    yield
    for kind, there in zip(kinds, before, strict=True):
        kind.receivers[:] = there
        kind.sender_receivers_cache.clear()


def set_up() -> tuple[logging.Logger, io.StringIO]:
    """A logger as Celery leaves it, after its signal."""
    stream, log = io.StringIO(), logging.Logger("root")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TaskFormatter("%(levelname)s %(task_name)s %(message)s", use_color=False))
    log.addHandler(handler)
    signals.after_setup_logger.send(sender=None, logger=log, loglevel=20, logfile=None)
    signals.after_setup_task_logger.send(sender=None, logger=log, loglevel=20, logfile=None)
    return log, stream


def said(log: logging.Logger, stream: io.StringIO) -> str:
    event = build_event("order.placed", None, source="shop", id="7")
    with HandlingContext(event, 1, "billing.charge_card"):
        log.info("charged", extra={"order": 7})
    return stream.getvalue().rstrip("\n")


def test_an_app_that_celeriac_made_names_the_event_behind_celerys_lines() -> None:
    install_logs(Settings.load({}, service="billing"), is_celeriac_app=True)
    assert "INFO ??? charged [order.placed 7 billing.charge_card]" == said(*set_up())


def test_another_app_keeps_its_lines_as_they_were() -> None:
    install_logs(Settings.load({}, service="billing"), is_celeriac_app=False)
    assert "INFO ??? charged" == said(*set_up())


def test_a_setting_selects_json_in_any_app() -> None:
    install_logs(
        Settings.load({"CELERIAC_LOG_FORMAT": "json"}, service="billing"), is_celeriac_app=False
    )
    line = json.loads(said(*set_up()))
    assert ("billing", "charged", "7", "billing.charge_card", 7) == tuple(
        line[name] for name in ("service", "message", "event_id", "handler", "order")
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("json", JsonFormatter), ("keyvalue", KeyValueFormatter), ("", SuffixFormatter)],
)
def test_each_format_has_its_formatter(name: str, kind: type) -> None:
    assert type(formatter(Settings.load({}, log_format=name))) is kind


def test_only_workers_of_the_app_are_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that is only in the same process does not change the logs of another's worker."""
    # what other tests imported listens as well, and would be told of a worker that there is not
    monkeypatch.setattr(signals.celeryd_init, "receivers", [])
    from celeriac import EventBus

    bus = EventBus(service="billing")
    app, other = bus.app, Celery("other", broker="memory://", set_as_current=False)

    class Instance:
        def __init__(self, app: Celery) -> None:
            self.app = app

    def fire(whose: Celery) -> str:
        signals.celeryd_init.send(sender="w@h", instance=Instance(whose), conf=None, options={})
        return said(*set_up())

    assert "INFO ??? charged" == fire(other)
    assert "[order.placed 7 billing.charge_card]" in fire(app)
