"""Events: their envelope, their form on the wire, their types and patterns on them."""

from celeriac.event.addressing import meant_for
from celeriac.event.annotation import event_type_argument, is_batch
from celeriac.event.attributes import check_domain
from celeriac.event.build import build_event, plain_event
from celeriac.event.codec import (
    check_decoded,
    decode,
    decode_unchecked,
    encode,
    encode_data,
)
from celeriac.event.correlation import (
    MAX_EMITTED,
    NONE_EMITTED,
    Causality,
    EmittedEvent,
    EmittedEvents,
    HandlingContext,
    current_attempt,
    current_event,
    current_handling,
    current_tenant,
    inherit,
    record_emitted,
)
from celeriac.event.encrypted import is_encrypted
from celeriac.event.envelope import Event, RawEvent
from celeriac.event.extensions import Extensions, ExtensionValue
from celeriac.event.header import EventHeader, key_in, read_header, type_in
from celeriac.event.identity import (
    derived_event_id,
    event_key,
    id_time_ms,
    is_unguessable,
    key_id,
    made_ms,
    new_event_id,
    new_event_ids,
    unpublished_event_id,
)
from celeriac.event.masking import masked, masked_envelope, sensitive_values, without
from celeriac.event.pattern import Matcher, Pattern, compile_patterns, literal_domain
from celeriac.event.schema import check_annotation, decode_data, validate_for_emit
from celeriac.event.sensitive import Sensitive, join_paths, sensitive_attribute
from celeriac.event.signature import is_signed, unsigned_size
from celeriac.event.validation import validate

__all__ = [
    "MAX_EMITTED",
    "NONE_EMITTED",
    "Causality",
    "EmittedEvent",
    "EmittedEvents",
    "Event",
    "ExtensionValue",
    "Extensions",
    "HandlingContext",
    "Matcher",
    "Pattern",
    "EventHeader",
    "RawEvent",
    "Sensitive",
    "build_event",
    "check_annotation",
    "check_decoded",
    "check_domain",
    "compile_patterns",
    "current_attempt",
    "current_event",
    "current_handling",
    "current_tenant",
    "decode",
    "decode_unchecked",
    "decode_data",
    "encode",
    "encode_data",
    "derived_event_id",
    "event_key",
    "event_type_argument",
    "id_time_ms",
    "is_signed",
    "is_unguessable",
    "made_ms",
    "inherit",
    "is_batch",
    "is_encrypted",
    "join_paths",
    "key_id",
    "key_in",
    "literal_domain",
    "masked",
    "masked_envelope",
    "meant_for",
    "new_event_id",
    "new_event_ids",
    "record_emitted",
    "read_header",
    "plain_event",
    "sensitive_attribute",
    "unpublished_event_id",
    "unsigned_size",
    "sensitive_values",
    "type_in",
    "validate",
    "validate_for_emit",
    "without",
]
