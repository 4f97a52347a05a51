"""Reading a request within limits: its headers, and its body as bytes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Self

from starlette.requests import Request

from celeriac.gateway.limits import Limits
from celeriac.gateway.refusal import Refusal, retry_after

_SINGLE = ("ce-", "content-type", "content-encoding")


class Slots:
    """How many requests run at once on one route of this process: all, and of each token."""

    def __init__(self, limit: int, token_limit: int) -> None:
        self.limit, self.token_limit = limit, token_limit
        self.used = 0
        self.of_token: Counter[str] = Counter()
        # Requests of unknown senders while their bodies arrive, the oldest first.
        self.unverified: dict[Slot, asyncio.Timeout] = {}

    def end_oldest_read(self) -> bool:
        """End the read of the oldest request of an unknown sender; return False if none reads.

        So slow requests without a signature, which anyone can send, do not hold all slots.
        """
        slot = next(iter(self.unverified), None)
        if slot is None:
            return False
        deadline = self.unverified.pop(slot)
        slot.is_replaced = True
        if not deadline.expired():
            deadline.reschedule(0)
        return True


class Slot:
    """The slot that a request occupies, the request's token, and how many events it accepted.

    Entering its `with` block raises Refusal (503) if all slots are in use, unless it replaces a
    request that is `reading`.
    """

    __slots__ = ("_is_counted", "_slots", "accepted", "is_replaced", "token")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._is_counted = False
        self.is_replaced = False
        self.accepted = 0
        self.token = ""

    def __enter__(self) -> Self:
        slots = self._slots
        if slots.used >= slots.limit and not slots.end_oldest_read():
            raise self.refusal()
        slots.used += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._slots.used -= 1
        if self._is_counted:
            self._slots.of_token[self.token] -= 1

    @contextmanager
    def reading(self, deadline: asyncio.Timeout) -> Iterator[None]:
        """Let a newer request end the `with` block through its deadline, if all slots are in use.

        For the body of a request whose sender is unknown until it is read.
        """
        self._slots.unverified[self] = deadline
        try:
            yield
        finally:
            self._slots.unverified.pop(self, None)

    def refusal(self, **headers: str) -> Refusal:
        """Return the refusal of a request that gets no slot, or lost it."""
        return Refusal(
            503,
            f"{self._slots.limit} requests run already. Send it again with the same id",
            headers={**retry_after(1), **headers},
            reason="too_many",
        )

    def give_to(self, token: str) -> None:
        """Count it for the token too. Idempotent. Raises Refusal (429) if the token has no more."""
        if self._is_counted:
            return
        slots, self.token = self._slots, token
        if slots.of_token[token] >= slots.token_limit:
            raise Refusal(
                429,
                f"{slots.token_limit} requests of the token {token} run already. Send it again "
                "with the same id",
                headers=retry_after(1),
                reason="too_many",
            )
        slots.of_token[token] += 1
        self._is_counted = True


def read_headers(raw: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return the headers by lower-case name.

    Raises Refusal for an attribute that occurs twice or is not ASCII (400), and for a compressed
    body (415). Of other headers, the last one counts.
    """
    headers: dict[str, str] = {}
    for name, value in raw:
        text = name.decode("latin-1").lower()
        if text.startswith(_SINGLE):
            if text in headers:
                raise Refusal(400, f"the header {text!r} occurs twice", field=text)
            if not value.isascii():
                raise Refusal(
                    400, f"the header {text!r} is not ASCII. Percent-encode its value", field=text
                )
        headers[text] = value.decode("latin-1")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refusal(
            415,
            "the body is compressed. Send it without Content-Encoding",
            headers={"accept-encoding": "identity"},
        )
    return headers


async def read_body(request: Request, limits: Limits, unverified: Slot | None = None) -> bytes:
    """Return the body.

    Raises Refusal for more than `max_body` bytes (413), for a body that did not arrive within
    `body_timeout` (408), and for a client that disconnected. `unverified` is the slot of a request
    whose sender is unknown; if a newer request replaces it, Refusal (503) is raised.
    """
    if _is_over(request.headers.get("content-length", ""), limits.max_body):
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.body_timeout) as deadline:
            with nullcontext() if unverified is None else unverified.reading(deadline):
                return await _read_chunks(request, limits)
    except TimeoutError:
        if unverified is not None and unverified.is_replaced:
            raise unverified.refusal(connection="close") from None
        raise Refusal(
            408,
            f"the body did not arrive within {limits.body_timeout:g} s",
            headers={"connection": "close"},
        ) from None


async def _read_chunks(request: Request, limits: Limits) -> bytes:
    chunks: list[bytes] = []
    size, is_complete = 0, False
    while not is_complete:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the client disconnected before its request was complete")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limits.max_body:
            raise _too_large(limits)
        chunks.append(chunk)
        is_complete = not message.get("more_body", False)
    return b"".join(chunks)


def _is_over(length: str, limit: int) -> bool:
    """Return whether a Content-Length is a number above the limit. Python reads no number of over
    4300 digits."""
    if not (length.isascii() and length.isdigit()):
        return False
    digits = length.lstrip("0")
    return len(digits) > len(str(limit)) or int(digits or "0") > limit


def _too_large(limits: Limits) -> Refusal:
    return Refusal(
        413,
        f"the body is over the limit of {limits.max_body} bytes",
        headers={"connection": "close"},
    )
