"""Keys of data subjects, such as customers. Erasing a key makes the subject's data unreadable."""

from celeriac.security.subject_key import Erasure, SubjectKey, SubjectKeys
from celeriac.security.subject_recipient import SUBJECT, subject_key
from celeriac.subject_keys.django import DjangoSubjectKeys
from celeriac.subject_keys.memory import MemorySubjectKeys
from celeriac.subject_keys.sql import SqlSubjectKeys
from celeriac.subject_keys.table import create_subject_keys, subject_keys_table

__all__ = [
    "SUBJECT",
    "DjangoSubjectKeys",
    "Erasure",
    "MemorySubjectKeys",
    "SqlSubjectKeys",
    "SubjectKey",
    "SubjectKeys",
    "create_subject_keys",
    "subject_key",
    "subject_keys_table",
]
