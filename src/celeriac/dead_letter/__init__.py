"""Dead letters: choose, show, redrive, edit and discard them, and the audit log."""

from celeriac.dead_letter.actions import discard_dead_letters, redrive_dead_letter
from celeriac.dead_letter.audit import (
    AuditEntry,
    Note,
    audit_log,
    record_action,
    record_setting,
    restart_text,
)
from celeriac.dead_letter.batch import Batch, count_batch, discard_batch, redrive_batch
from celeriac.dead_letter.choice import Choice, choose, dead_letter_at, tenant_of, type_of
from celeriac.dead_letter.edit import (
    DeadLetterEdit,
    apply_edit,
    document_of,
    edit_dead_letter,
    masked_document,
    patch_change,
)
from celeriac.dead_letter.erased_data import ErasedData
from celeriac.dead_letter.erasure import erase_subject
from celeriac.dead_letter.history import Step, history_of
from celeriac.dead_letter.page import DeadPage, dead_page

__all__ = [
    "AuditEntry",
    "Batch",
    "Choice",
    "DeadLetterEdit",
    "DeadPage",
    "ErasedData",
    "Note",
    "Step",
    "apply_edit",
    "audit_log",
    "choose",
    "count_batch",
    "dead_letter_at",
    "dead_page",
    "discard_batch",
    "discard_dead_letters",
    "document_of",
    "edit_dead_letter",
    "erase_subject",
    "history_of",
    "masked_document",
    "patch_change",
    "record_action",
    "record_setting",
    "redrive_batch",
    "redrive_dead_letter",
    "restart_text",
    "tenant_of",
    "type_of",
]
