"""Keys of subjects are cached, and forgotten where the subject is erased."""

from __future__ import annotations

import pytest

from celeriac import SubjectErased
from celeriac.security.cached_subject_keys import CachedSubjectKeys
from celeriac.subject_keys import MemorySubjectKeys


def test_the_process_that_erases_a_subject_encrypts_nothing_more_for_it() -> None:
    """Other processes use the key until it expires from their caches."""
    keys = CachedSubjectKeys(MemorySubjectKeys(), clock=lambda: 0.0)
    keys.key_of("customer-42")
    keys.erase("customer-42", actor="ann")
    with pytest.raises(SubjectErased):
        keys.key_of("customer-42")
