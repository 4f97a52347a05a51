"""The checks between a claim and its handler."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.errors import EncryptionError, SubjectKeysUnavailable, UntrustedEvent
from celeriac.event import RawEvent, build_event, decode, encode
from celeriac.event.encrypted import ENCRYPTED
from celeriac.executor.admission import Admission

PLAIN = decode(encode(build_event("order.placed", 1, source="shop", id="a", tenant="acme")))


class Guard:
    """Refuses unsigned events, and decrypts each as PLAIN."""

    def __init__(self) -> None:
        self.verified: list[Any] = []

    def verify(self, raw: bytes, event: Any, domain: str) -> None:
        self.verified.append((raw, event, domain))
        raise UntrustedEvent("unsigned")

    def decrypt(self, event: RawEvent) -> RawEvent:
        return PLAIN


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
def admission(guard: Guard) -> Admission:
    guarded: Any = guard
    return Admission(guarded, "order")


def handler(signed: bool) -> Any:
    return SimpleNamespace(signed=signed)


@pytest.mark.parametrize(
    ("signed", "verified", "is_trusted"),
    [
        (False, None, True),
        (True, None, False),
        (True, ("shop", "order.placed", "acme"), True),
        (True, ("shop", "order.placed", None), False),
        (True, ("till", "order.placed", "acme"), False),
        (True, ("shop", "order.paid", "acme"), False),
    ],
)
def test_a_signature_is_demanded_unless_the_same_event_was_verified(
    admission: Admission, guard: Guard, signed: bool, verified: Any, is_trusted: bool
) -> None:
    if verified is not None:
        admission.verified["1-0"] = verified
    if is_trusted:
        assert admission.admit(handler(signed), "1-0", b"body", PLAIN) is PLAIN
        assert guard.verified == []
    else:
        with pytest.raises(UntrustedEvent):
            admission.admit(handler(signed), "1-0", b"body", PLAIN)
        assert guard.verified == [(b"body", PLAIN, "order")]


def test_only_encrypted_data_is_decrypted(admission: Admission) -> None:
    other = decode(encode(build_event("order.placed", 2, source="shop")))
    encrypted = decode(
        encode(build_event("order.placed", {}, source="shop", datacontenttype=ENCRYPTED))
    )
    assert admission.admit(handler(False), "1-0", b"", other) is other
    assert admission.admit(handler(False), "1-0", b"", encrypted) is PLAIN


@pytest.mark.parametrize(
    ("error", "is_masked"),
    [
        (ValueError("secret"), True),
        (UntrustedEvent("secret"), False),
        (EncryptionError("secret"), False),
        (SubjectKeysUnavailable("secret"), False),
    ],
)
def test_errors_that_contain_no_data_are_shown(
    guard: Guard, error: Exception, is_masked: bool
) -> None:
    guarded: Any = guard
    body = encode(build_event("order.placed", {"name": "secret"}, source="shop"))
    shown = Admission(guarded, "order", frozenset({"name"})).shown(error, [body])
    assert str(shown) == ("***" if is_masked else "secret")
    assert (shown is error) == (not is_masked)
