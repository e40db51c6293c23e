"""Which shape a delta has in each latent space, and which rows of it count."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import LatentSpace
from editvec.registry.errors import CodecError, CompatibilityError

if TYPE_CHECKING:  # numpy takes long to load, and a listing needs none
    from editvec.registry.entities.vectors import FloatArray

MAX_COLUMNS = 1 << 16
"""More style channels than any published generator has (StyleGAN2 at 1024 pixels: 9088)."""

APPLICABLE_SPACES = (LatentSpace.W, LatentSpace.W_PLUS)
"""Where a delta can be added to `ws`."""


class DeltaShape(NamedTuple):
    """Rows and columns of a delta."""

    rows: int
    columns: int


def shape_in(space: LatentSpace, model: ClassModel, *, columns: int) -> DeltaShape:
    """The shape of a delta of a class: [num_ws, w_dim] in W and W+, one row in Z and S.

    Args:
        space: where the delta lives.
        model: its class.
        columns: how many it has; only S, whose channels the class does not count, asks.

    Raises:
        CodecError: more style channels than there can be, or none.
    """
    if space in APPLICABLE_SPACES:
        return DeltaShape(model.num_ws, model.w_dim)
    if space is LatentSpace.Z:
        return DeltaShape(1, model.z_dim)
    if not 1 <= columns <= MAX_COLUMNS:
        raise CodecError(f"delta: expected 1 to {MAX_COLUMNS} style channels in S, got {columns}")
    return DeltaShape(1, columns)


def check_w_rows(delta: FloatArray, row_mask: tuple[bool, ...], *, of: str) -> None:
    """Refuses a delta of W whose touched rows differ.

    Args:
        delta: [num_ws, w_dim].
        row_mask: the rows that it touches, [num_ws].
        of: what the message calls it.

    Raises:
        CompatibilityError: names two rows that differ.
    """
    touched = [row for row, is_touched in enumerate(row_mask) if is_touched]
    for row in touched:
        if (delta[row] != delta[touched[0]]).any():
            raise CompatibilityError(
                f"{of}: expected equal rows in space W, row {row} differs from row {touched[0]}; "
                "a delta with different rows lives in W+"
            )


def rows_between(first: int, last: int, *, rows: int) -> tuple[bool, ...]:
    """The row mask of rows `first` to `last` - 1.

    Raises:
        CompatibilityError: they do not lie inside the delta.

    Example:
        >>> rows_between(1, 3, rows=4)
        (False, True, True, False)
    """
    if not 0 <= first < last <= rows:
        raise CompatibilityError(f"rows: expected rows inside 0:{rows}, got {first}:{last}")
    return tuple(first <= row < last for row in range(rows))
