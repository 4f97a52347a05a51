"""A warm stop of the prefork pool, at its worst moment: a job is written, and not yet accepted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from celery import Celery
from celery.concurrency.prefork import TaskPool as Prefork
from celery.concurrency.solo import TaskPool as Solo
from kombu.asynchronous import Hub, set_event_loop

from celeriac.worker.celery_fixes.prefork_results import expect_results, install_results_read

BILLIARD_WAITS = 30.0


@pytest.fixture
def hub() -> Iterator[Any]:
    hub = cast("Any", Hub)()
    set_event_loop(hub)
    yield hub
    set_event_loop(None)
    hub.close()


@pytest.fixture
def pool(hub: Any) -> Iterator[Any]:
    app = Celery("pool", set_as_current=False)
    pool: Any = Prefork(1, app=app, threads=False, initargs=(app, "pool@here"))
    pool.start()
    pool.register_with_event_loop(hub)
    yield pool
    pool.terminate()


def test_a_process_whose_job_was_forgotten_ends_at_once(pool: Any, hub: Any, tmp_path: Any) -> None:
    """It ran the job, and does not wait half a minute as billiard does for a reader."""
    ran = tmp_path / "ran"
    job = pool.apply_async(ran.touch)
    for _ in range(100):
        if job._write_to is not None:
            break
        hub.run_once()
    assert job._write_to is not None
    assert not job._accepted
    pool.flush()
    expect_results(pool)
    before = time.monotonic()
    pool.stop()
    assert time.monotonic() - before < BILLIARD_WAITS / 2
    assert ran.exists()


def test_a_pool_without_processes_is_left_alone() -> None:
    expect_results(Solo(1, app=Celery("pool", set_as_current=False)))


def test_every_worker_of_the_app_has_the_step_once() -> None:
    app = Celery("twice", set_as_current=False)
    install_results_read(app)
    install_results_read(app)
    steps: Any = app.steps
    assert len(steps["worker"]) == 1
