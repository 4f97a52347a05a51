"""A chain over two services that logs and makes spans; the spans go into a file of each process.

An SDK is set up once where the app is made: SimpleSpanProcessor has no thread, so that pool
processes may inherit it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from contextvars import copy_context
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from celeriac import Event, EventBus

logger = logging.getLogger("observed")


class FileExporter(SpanExporter):
    """One JSON object a line, in a file of each process."""

    def export(self, spans: Any) -> SpanExportResult:
        path = os.path.join(os.environ["SPANS"], f"{os.getpid()}.jsonl")
        with open(path, "a") as file:
            file.writelines(self._line(span) for span in spans)
        return SpanExportResult.SUCCESS

    @staticmethod
    def _line(span: ReadableSpan) -> str:
        return f"{span.to_json(indent=None)}\n"


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(FileExporter()))
trace.set_tracer_provider(provider)

bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app

if bus.settings.service == "billing":

    @bus.on("order.placed", retries=2, backoff=0.05)
    def charge(event: Event[Any]) -> None:
        logger.info("charging")
        run = copy_context().run
        thread = threading.Thread(target=run, args=(logger.info, "from a thread"))
        thread.start()
        thread.join()
        if event.data["fails"] and "failed" not in globals():
            globals()["failed"] = True
            raise ConnectionError("the gateway is down")
        bus.emit("payment.captured", {}, id=f"{event.id}.payment")


if bus.settings.service == "shipping":

    @bus.on("payment.captured")
    async def send(event: Event[Any]) -> None:
        await asyncio.sleep(0)
        logger.info("from a coroutine")
        await asyncio.to_thread(logger.info, "from a thread of it")
        await bus.aemit("shipment.sent", {}, id=f"{event.id}.shipment")
