"""Mask edits as text: `mouth: scale 1.2x1.0, shift 0,-2; eye[left]: grow 1`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from editvec.registry.addresses import quote
from editvec.registry.errors import OperationError
from editvec.registry.masks.operations import (
    Grow,
    Length,
    MaskEdit,
    Mirror,
    Operation,
    Paste,
    Pieces,
    Remove,
    Rotate,
    Scale,
    Shift,
    Shrink,
)

KINDS = ("grow", "shrink", "scale", "rotate", "shift", "remove", "mirror", "paste")
MIRRORS = {"left-right": 1, "top-bottom": 0}
MAX_LENGTH = 8192
MAX_SCALE = 100.0

_AREA = re.compile(r"(?P<parts>[^\[\]:]+?)\s*(\[\s*(?P<pieces>[^\[\]]*?)\s*\])?\s*\Z")
_NEXT = re.compile(rf",(?=\s*(?:{'|'.join(KINDS)})\b)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")


def parse_edits(text: str) -> tuple[MaskEdit, ...]:
    """Reads mask edits.

    Args:
        text: `PARTS: OPERATION, ...` with `;` between several. PARTS are names of parts or
            groups with commas between them, and in brackets which pieces are meant: each (one
            by one, if nothing is said), together, largest, left, right, top or bottom.
            Operations are `grow N`, `shrink N`, `scale F` or `scale FxF` (width x height),
            `rotate DEGREES` (clockwise), `shift RIGHT,DOWN`, `remove`, `mirror left-right` or
            `mirror top-bottom`, `paste FILE` and `paste FILE centred`. Lengths are pixels of the
            mask, or percent of it: `shift 0,-2%`.

    Raises:
        OperationError: says which words are wrong.

    Example:
        >>> parse_edits("mouth, teeth: scale 1.2x1.0, shift 0,-2")[0].parts
        ('mouth', 'teeth')
    """
    edits = []
    for piece in text.split(";"):
        if not piece.strip():
            continue
        area, colon, rest = piece.partition(":")
        if not colon:
            raise OperationError(
                f"operation {quote(piece.strip())}: expected PARTS: OPERATION, such as "
                "`mouth: scale 1.2`"
            )
        parts, pieces = parse_area(area.strip())
        found = tuple(parse_operation(words.strip()) for words in _NEXT.split(rest))
        edits.append(MaskEdit(parts, found, pieces))
    if not edits:
        raise OperationError("operation: expected PARTS: OPERATION, got nothing")
    return tuple(edits)


def parse_area(text: str) -> tuple[tuple[str, ...], Pieces]:
    """Reads `eye, iris[left]`: the parts, and which of their pieces.

    Raises:
        OperationError: no part, or no such pieces.
    """
    match = _AREA.match(text)
    names = [] if match is None else [name.strip() for name in match["parts"].split(",")]
    if match is None or not all(names):
        raise OperationError(f"operation: expected names of parts, got {quote(text)}")
    pieces = Pieces.EACH if match["pieces"] is None else match["pieces"]
    if pieces not in list(Pieces):
        raise OperationError(
            f"operation: expected one of {', '.join(Pieces)} in brackets, got {quote(pieces)}"
        )
    return tuple(dict.fromkeys(names)), Pieces(pieces)


def parse_operation(text: str) -> Operation:
    """Reads one operation, such as `scale 1.2x1.0`.

    Raises:
        OperationError: there is no such operation, or its numbers are wrong.
    """
    kind, _, rest = text.partition(" ")
    return make_operation(kind, rest.strip())


def make_operation(kind: str, value: str) -> Operation:  # noqa: C901 (one branch for each kind)
    """The operation of that kind, from the text after its name.

    Raises:
        OperationError: there is no such operation, or its numbers are wrong.
    """
    if kind == "grow":
        return Grow(_distance(value, of=kind))
    if kind == "shrink":
        return Shrink(_distance(value, of=kind))
    if kind == "scale":
        factors = _several(value, "x", of=kind)
        if len(factors) > 2 or not all(1 / MAX_SCALE <= one <= MAX_SCALE for one in factors):
            raise _refuse(kind, f"one or two factors to {MAX_SCALE:g}, such as 1.2x0.9", value)
        return Scale(factors[0], factors[-1])
    if kind == "rotate":
        return Rotate(_number(value, of=kind))
    if kind == "shift":
        right, comma, down = value.partition(",")
        if not comma:
            raise _refuse(kind, "RIGHT,DOWN, such as 0,-2", value)
        return Shift(_length(right.strip(), of=kind), _length(down.strip(), of=kind))
    if kind == "remove":
        if value:
            raise _refuse(kind, "nothing after it", value)
        return Remove()
    if kind == "mirror":
        if value and value not in MIRRORS:
            raise _refuse(kind, " or ".join(MIRRORS), value)
        return Mirror(MIRRORS[value or "left-right"])
    if kind == "paste":
        path = value.removesuffix(" centred").strip()
        if not path:
            raise _refuse(kind, "a mask, such as other.png", value)
        return Paste(Path(path), is_centred=path != value)
    raise OperationError(f"operation: expected one of {', '.join(KINDS)}, got {quote(kind)}")


def format_edits(edits: Sequence[MaskEdit]) -> str:
    """The text that `parse_edits` reads."""
    return "; ".join(
        f"{', '.join(edit.parts)}{_brackets(edit.pieces)}: "
        + ", ".join(format_operation(operation) for operation in edit.operations)
        for edit in edits
    )


def format_operation(operation: Operation) -> str:
    """The text of one operation."""
    kind = type(operation).__name__.lower()
    if isinstance(operation, Grow | Shrink):
        return f"{kind} {_shown(operation.by)}"
    if isinstance(operation, Scale):
        return f"{kind} {operation.across:.12g}x{operation.down:.12g}"
    if isinstance(operation, Rotate):
        return f"{kind} {operation.degrees:.12g}"
    if isinstance(operation, Shift):
        return f"{kind} {_shown(operation.right)},{_shown(operation.down)}"
    if isinstance(operation, Mirror):
        return f"{kind} {'left-right' if operation.axis else 'top-bottom'}"
    if isinstance(operation, Paste):
        return f"{kind} {operation.path}{' centred' if operation.is_centred else ''}"
    return kind


def pasted_files(text: str) -> list[Path]:
    """The masks that the edits of a text paste from.

    Raises:
        OperationError: it is no text of edits.
    """
    return [
        operation.path
        for edit in parse_edits(text)
        for operation in edit.operations
        if isinstance(operation, Paste)
    ]


def place_pasted_files(text: str, folder: Path) -> str:
    """The text of edits that paste from masks below a folder.

    Raises:
        OperationError: it is no text of edits.
    """
    if not pasted_files(text):
        return text
    placed = [
        replace(
            edit,
            operations=tuple(
                replace(one, path=folder / one.path) if isinstance(one, Paste) else one
                for one in edit.operations
            ),
        )
        for edit in parse_edits(text)
    ]
    return format_edits(placed)


def _brackets(pieces: Pieces) -> str:
    return "" if pieces is Pieces.EACH else f"[{pieces}]"


def _shown(length: Length) -> str:
    return f"{length.value:.12g}{'%' if length.is_percent else ''}"


def _distance(text: str, *, of: str) -> Length:
    length = _length(text, of=of)
    if length.value < 0:
        raise _refuse(of, "0 or more", text)
    return length


def _length(text: str, *, of: str) -> Length:
    number = _number(text.removesuffix("%"), of=of)
    if abs(number) > MAX_LENGTH:
        raise _refuse(of, f"at most {MAX_LENGTH} pixels", text)
    return Length(number, text.endswith("%"))


def _several(text: str, separator: str, *, of: str) -> list[float]:
    return [_number(part.strip(), of=of) for part in text.split(separator)]


def _number(text: str, *, of: str) -> float:
    if not _NUMBER.match(text) or not math.isfinite(float(text)):
        raise _refuse(of, "a number", text)
    return float(text)


def _refuse(kind: str, expected: str, got: str) -> OperationError:
    return OperationError(f"operation {kind}: expected {expected}, got {quote(got)}")
