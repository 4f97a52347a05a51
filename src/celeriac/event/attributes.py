"""Checks of the CloudEvents attributes. Each raises InvalidEvent that names the attribute."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from celeriac.errors import InvalidEvent
from celeriac.tenant import tenant_fault

MAX_LENGTH: Final = 255  # of an id, a type, a handler's name
MAX_TEXT: Final = 1024  # of any other attribute
MAX_LIST: Final = 8192  # of `sensitive` and `handlers`, which are lists
MAX_EXTENSIONS: Final = 100
REQUIRED: Final = ("id", "source", "type")
TEXTS: Final = (
    "subject",
    "correlationid",
    "causationid",
    "partitionkey",
    "tenant",
    "sensitive",
    "keyid",
    "signature",
)
OPTIONAL: Final = (*TEXTS, "datacontenttype", "dataschema", "traceparent")
CORE: Final = frozenset(
    (*REQUIRED, *OPTIONAL, "specversion", "time", "handlers", "redriven", "data", "data_base64")
)

_INT32: Final = range(-(2**31), 2**31)
# CloudEvents 1.0, type system: control characters, surrogates and noncharacters are disallowed
_DISALLOWED = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_TYPE = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_CONTENT_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|"(?:[^"\\]|\\.)*"))*')
_JSON = re.compile(r"[^/;]+/(?:[^;]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_ABSOLUTE_URI = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*:[^\s<>"{}|\\^`]+""")
_EXTENSION_NAME = re.compile(r"[a-z0-9]+")
# A Python identifier may use any script; a service's name may contain a hyphen.
_HANDLER = re.compile(r"[\w-]+(?:\.[\w-]+)+")
_TRACE = r"(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
# Versions after 00 may have more fields after the flags.
_TRACEPARENT = re.compile(rf"00-{_TRACE}|(?!00|ff)[0-9a-f]{{2}}-{_TRACE}(?:-[\x21-\x7e]*)?")


def check_text(name: str, value: object) -> None:
    """Check for a string of 1 to `MAX_TEXT` characters without control characters."""
    if type(value) is str and 0 < len(value) <= MAX_TEXT and value.isprintable():
        return
    _check_text(name, value, MAX_TEXT)


def check_sensitive(value: object) -> None:
    """Check for a text of at most `MAX_LIST` characters."""
    _check_text("sensitive", value, MAX_LIST)


def _check_text(name: str, value: object, max_length: int) -> None:
    if type(value) is not str:
        raise InvalidEvent(f"`{name}` must be a string, got {type(value).__name__}")
    if not value:
        raise InvalidEvent(f"`{name}` must not be empty; omit it instead")
    check_length(name, value, max_length)
    if _DISALLOWED.search(value):
        raise InvalidEvent(
            f"`{name}` must not contain control characters, surrogates or noncharacters"
        )


def check_length(name: str, value: str, max_length: int = MAX_TEXT) -> None:
    """Check the length: attributes appear in lists, logs and Celery messages."""
    if len(value) > max_length:
        raise InvalidEvent(
            f"`{name}` is {len(value):,} characters long, at most {max_length:,} are allowed. "
            "Put long values into data"
        )


def check_id(value: object) -> None:
    """Check for a text of at most 255 characters."""
    if type(value) is str and 0 < len(value) <= MAX_LENGTH and value.isprintable():
        return
    _check_text("id", value, MAX_LENGTH)


def check_tenant(value: object) -> None:
    """Check for a name of 1 to `MAX_TENANT` characters without spaces and commas."""
    if type(value) is not str or not _is_tenant(value):
        raise InvalidEvent(f"`tenant` {tenant_fault(value)}")


# A handler gets the events of few tenants, many of each.
@lru_cache(maxsize=4096)
def _is_tenant(value: str) -> bool:
    return not tenant_fault(value)


def check_type(value: object) -> None:
    """Check for segments of letters, digits, `_` and `-`, separated by dots; at most 255
    characters."""
    if type(value) is not str:
        raise InvalidEvent(f"`type` must be a string, got {type(value).__name__}")
    check_decoded_type(value)


# A service has few types and checks each many times. An exception is not cached.
@lru_cache(maxsize=4096)
def check_decoded_type(value: str) -> None:
    """Do what `check_type` does, for a value that is known to be a string."""
    if fault := type_fault(value):
        raise InvalidEvent(f"`type` {shown(value)} {fault}; write it like 'order.placed'")


def type_fault(value: str) -> str:
    """Return the fault of an event type as the end of a sentence; empty for a valid type."""
    if not value:
        return "is empty"
    if len(value) > MAX_LENGTH:
        return f"is {len(value)} characters long, at most {MAX_LENGTH} are allowed"
    if _TYPE.fullmatch(value):
        return ""
    if "" in value.split("."):
        return "has an empty segment (a dot at an end, or two in a row)"
    return "may only contain ASCII letters, digits, '_', '-' and dots"


def check_domain(type_: str, domain: str) -> None:
    """Check that the type belongs to the domain whose event log has the event.

    Redis's ACL decides which services may write to the event log of `order`, so an event in it must
    not count as an event of `payment`.
    """
    if type_.partition(".")[0] != domain:
        raise InvalidEvent(
            f"`type` {shown(type_)} does not belong to the domain {shown(domain)}. "
            "Append each event to the event log of the first segment of its type"
        )


def domain_fault(value: str) -> str:
    """Return the fault of a domain as the end of a sentence; empty for a valid domain."""
    return type_fault(value) or ("has more than one segment" if "." in value else "")


def check_domain_name(value: str) -> None:
    """Raise ValueError for an invalid domain."""
    if fault := domain_fault(value):
        raise ValueError(f"is not a domain: it {fault}")


def check_time(value: object) -> None:
    """Check for a datetime with a time zone."""
    if type(value) is datetime and value.tzinfo is UTC:
        return
    if not isinstance(value, datetime):
        raise InvalidEvent(f"`time` must be a datetime, got {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidEvent("`time` must have a time zone, like datetime.now(timezone.utc)")


def check_content_type(value: object) -> None:
    """Check for a media type of RFC 2045, like `application/json`."""
    if type(value) is not str:
        raise InvalidEvent(f"`datacontenttype` must be a string, got {type(value).__name__}")
    check_length("datacontenttype", value)
    if not _is_content_type(value):
        raise InvalidEvent("`datacontenttype` must be a media type like 'application/json'")


@lru_cache(maxsize=256)
def _is_content_type(value: str) -> bool:
    return _CONTENT_TYPE.fullmatch(value) is not None


def is_json(content_type: str | None) -> bool:
    """Return whether data of the content type is JSON. None, the default, is."""
    return content_type is None or _JSON.fullmatch(content_type) is not None


def check_schema_uri(value: object) -> None:
    """Check for an absolute URI."""
    if type(value) is str and _is_absolute_uri(value):
        return
    check_text("dataschema", value)
    if type(value) is str and _ABSOLUTE_URI.fullmatch(value) is None:
        raise InvalidEvent("`dataschema` must be an absolute URI like 'https://example.com/order'")


# A service has few schemas and checks each many times.
@lru_cache(maxsize=4096)
def _is_absolute_uri(value: str) -> bool:
    return (
        len(value) <= MAX_TEXT
        and value.isprintable()
        and _ABSOLUTE_URI.fullmatch(value) is not None
    )


def check_traceparent(value: object) -> None:
    """Check for a W3C trace context: version, trace id, parent id and flags in lower-case hex."""
    if type(value) is str:
        check_length("traceparent", value)
    if type(value) is not str or _TRACEPARENT.fullmatch(value) is None:
        raise InvalidEvent(
            "`traceparent` must be a W3C trace context like "
            "'00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'"
        )


def check_handler(value: object) -> None:
    """Check for a handler's id, `service.function`, of at most `MAX_LENGTH` characters."""
    if type(value) is str:
        check_length("handlers", value, MAX_LENGTH)
    if type(value) is not str or _HANDLER.fullmatch(value) is None:
        raise InvalidEvent(
            f"`handlers` must name each handler like 'billing.charge_card', got {shown(value)}"
        )


def check_extension(name: object, value: object) -> None:
    """Check for a free name of lower-case letters and digits, and a str, bool or 32-bit int."""
    if type(name) is not str or _EXTENSION_NAME.fullmatch(name) is None:
        raise InvalidEvent(
            f"attribute {shown(name)} must be named with lower-case ASCII letters and digits only"
        )
    check_length(f"attribute {shown(name)}", name, MAX_LENGTH)
    if name in CORE:
        raise InvalidEvent(f"`{name}` is a core attribute and cannot be an extension")
    if type(value) is str:
        check_length(name, value)
        if _DISALLOWED.search(value):
            raise InvalidEvent(f"`{name}` must not contain control characters")
    elif type(value) is int:
        if value not in _INT32:
            raise InvalidEvent(f"`{name}` must fit in 32 bits; write a larger number as a string")
    elif type(value) is not bool:
        raise InvalidEvent(
            f"`{name}` must be a string, a boolean or an integer, got {type(value).__name__}; "
            "put structured values into data"
        )


def shown(value: object) -> str:
    """Return a value for an error message, cut to about 60 characters."""
    text = repr(value) if isinstance(value, str) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "…"
