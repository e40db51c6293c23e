"""Which release of the program this is, as records name it."""

from __future__ import annotations

from functools import cache


@cache  # every item of a run names it, and it is read from a file
def engine_version() -> str:
    """The version of this program, as vectors, runs and content keys record it.

    Example:
        >>> engine_version().split()[0]
        'editvec'
    """
    from importlib.metadata import PackageNotFoundError, version  # slow, and few commands need it

    try:
        return f"editvec {version('editvec')}"
    except PackageNotFoundError:
        return "editvec (not installed)"
