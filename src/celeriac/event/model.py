"""The fields of a pydantic model, in each release of pydantic 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pydantic_fields(kind: Any) -> Mapping[str, Any] | None:
    """Return the fields of a pydantic model or dataclass by name; None for any other type.

    pydantic before 2.10 keeps those of a model under another name. Can go with pydantic 2.9.
    """
    declared: Any = getattr(kind, "__pydantic_fields__", None)
    if declared is None and hasattr(kind, "__pydantic_core_schema__"):
        declared = getattr(kind, "model_fields", None)
    return declared if isinstance(declared, Mapping) else None
