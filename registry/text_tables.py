"""Text tables for people."""

from __future__ import annotations

from collections.abc import Sequence

Cell = str | int | float | None


def format_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Rows in aligned columns; numbers to the right.

    Example:
        >>> print(format_table(["name", "scale"], [["smile", 1.5], ["frown", 10]]))
        NAME   SCALE
        smile    1.5
        frown     10
    """
    texts = [[cell_text(cell) for cell in row] for row in rows]
    widths = [
        max(len(header), *(len(row[place]) for row in texts)) if texts else len(header)
        for place, header in enumerate(headers)
    ]
    numeric = [
        bool(rows) and all(isinstance(row[place], (int, float, type(None))) for row in rows)
        for place in range(len(headers))
    ]
    lines = [[header.upper() for header in headers], *texts]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def format_record(pairs: Sequence[tuple[str, Cell]]) -> str:
    """One value per line, the values aligned; what is empty is left out."""
    shown = [(name, cell_text(cell)) for name, cell in pairs if cell not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in shown)


def range_text(lowest: float | None, highest: float | None) -> str:
    """A range of which an end may be unknown; nothing when both are.

    Example:
        >>> range_text(-1.0, 2.0), range_text(None, 2.0)
        ('-1 to 2', 'up to 2')
    """
    if lowest is not None and highest is not None:
        return f"{lowest:.4g} to {highest:.4g}"
    if lowest is not None:
        return f"from {lowest:.4g}"
    return "" if highest is None else f"up to {highest:.4g}"


def cell_text(cell: Cell) -> str:
    r"""A value as a cell: four significant digits, one line, control characters as ``\x1b``."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.4g}"
    line = " ".join(str(cell).split())
    return printable(line)


def printable(text: str) -> str:
    r"""Text for a terminal: what does not print, or turns around what follows, as ``\x1b``.

    Example:
        >>> printable("a\x1b[2J")
        'a\\x1b[2J'
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
