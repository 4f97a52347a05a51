"""Answers for autoscalers, which ask often: each question is read once a second at most."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec
import redis

from celeriac.errors import NotFound
from celeriac.registry import ScaleTargetRecord, is_alive, note_answer
from celeriac.scale.gather import ScaleReader
from celeriac.scale.question import ScaleQuestion
from celeriac.scale.wanted import WorkersWanted, unknown_service
from celeriac.settings import Settings
from celeriac.store.factory import Backend
from celeriac.store.redis.connection import answer_time, explain

logger = logging.getLogger(__name__)

# Seconds. KEDA asks from two processes, and the autoscaler of Kubernetes every 15 seconds.
FRESH = 1.0


class ScaleAnswers:
    """Thread-safe. One reading runs at a time, so that many questions do not load Redis."""

    def __init__(
        self, backend: Backend, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = ScaleReader(backend)
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: dict[bytes, tuple[float, WorkersWanted]] = {}

    def answer(self, question: ScaleQuestion) -> WorkersWanted:
        """Return the answer, at most a second old.

        Blocks as ScaleReader.read does, and while another question is read. Raises the same errors,
        and BusUnavailable in place of redis.RedisError.
        """
        key = msgspec.json.encode(question)
        with self._lock:
            now = self._clock()
            self._answers = {
                other: (at, answer)
                for other, (at, answer) in self._answers.items()
                if now - at < FRESH
            }
            if key not in self._answers:
                self._answers[key] = self._clock(), self._read(question)
            return self._answers[key][1]

    def _read(self, question: ScaleQuestion) -> WorkersWanted:
        options = msgspec.structs.asdict(question)
        unknown = options.pop("unknown")
        try:
            answer = self._reader.read(**options)
            # Of a queue without handlers: any client of a gateway can name one.
            if question.queue is None or answer.handlers:
                self._note(question, answer)
            return answer
        except NotFound:
            if unknown is None:
                raise
            return unknown_service(question.service, unknown, question.target)
        except redis.RedisError as error:
            url, seconds = self._settings.redis_url, answer_time(self._settings)
            raise explain(error, url=url, tries=1, seconds=seconds) from None

    def _note(self, question: ScaleQuestion, answer: WorkersWanted) -> None:
        """Write the answer to the bus, where `celeriac doctor` reads it.

        An error is logged: a gateway may have a user of Redis that only reads.
        """
        registry = self._reader.backend.registry
        try:
            now_ms, service = registry.now_ms(), question.service
            record = ScaleTargetRecord(
                service=service,
                queue=question.queue or "",
                cooldown=question.cooldown,
                workers=answer.workers,
                requested_ms=now_ms,
            )
            before = registry.scale_targets().get(record.name)
            is_running = any(
                worker.service == service and worker.processes and is_alive(worker, now_ms)
                for worker in registry.workers()
            )
            registry.note_scale_target(note_answer(before, record, is_running=is_running))
        except redis.RedisError as error:
            logger.debug("the answer for %s is not on the bus: %s", question.service, error)
