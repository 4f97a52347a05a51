"""The types of `session=`, for type checkers only: not imported at run time."""

from typing import Any, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

AnySession: TypeAlias = Session | Connection | scoped_session[Any]
AnyAsyncSession: TypeAlias = AsyncSession | AsyncConnection | async_scoped_session[Any]
