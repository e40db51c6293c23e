"""A database server that is away, told apart from one that refuses."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import InterfaceError, OperationalError


def is_away(error: BaseException) -> bool:
    """True if a database server could not be reached, or broke off: it may be back soon.

    SQLite is a file: what it says stays true until somebody does something.
    """
    cause = error.__cause__
    return isinstance(cause, OperationalError | InterfaceError) and not isinstance(
        cause.orig, sqlite3.Error
    )
