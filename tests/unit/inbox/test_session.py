"""The transaction of the current handler."""

from __future__ import annotations

import pytest

from celeriac.inbox import current_session
from celeriac.inbox.session import in_session


def test_it_is_current_within_its_block_only() -> None:
    with in_session("outer"):
        with in_session("inner"):
            assert "inner" == current_session()
        assert "outer" == current_session()
        with pytest.raises(ValueError, match="failed"), in_session("failing"):
            raise ValueError("failed")
        assert "outer" == current_session()
    with pytest.raises(RuntimeError, match="inbox="):
        current_session()
