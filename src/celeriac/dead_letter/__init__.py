"""What people do to deliveries, from the command line or in Flower: choose, redrive, discard."""

from celeriac.dead_letter.batch import Batch, count_batch, discard_batch, redrive_batch
from celeriac.dead_letter.choice import Choice, choose, letter_at, type_of
from celeriac.dead_letter.edit import (
    LetterEdit,
    apply_edit,
    edit_letter,
    letter_document,
    masked_document,
    patch_change,
)
from celeriac.dead_letter.history import Step, history_of
from celeriac.dead_letter.note import Act, Note, acts, record_setting, restart_text
from celeriac.dead_letter.page import DeadPage, dead_page
from celeriac.dead_letter.single import discard_letters, redrive_letter

__all__ = [
    "Act",
    "Batch",
    "Choice",
    "DeadPage",
    "LetterEdit",
    "Note",
    "Step",
    "acts",
    "apply_edit",
    "choose",
    "count_batch",
    "dead_page",
    "discard_batch",
    "discard_letters",
    "edit_letter",
    "history_of",
    "letter_at",
    "letter_document",
    "masked_document",
    "patch_change",
    "record_setting",
    "redrive_batch",
    "redrive_letter",
    "restart_text",
    "type_of",
]
