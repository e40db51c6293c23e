"""A composition is the sum of its terms: nothing else is stored as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from editvec.registry.composition.sums import (
    Float64Array,
    Recall,
    Summed,
    VectorSource,
    contribution,
    exact_sum,
    to_float32,
    weighted_leaves,
)
from editvec.registry.entities.spaces import check_w_rows
from editvec.registry.entities.vectors import (
    EditingVector,
    FloatArray,
    LatentSpace,
    NewTerm,
    Term,
    require_active,
)
from editvec.registry.errors import CompatibilityError, CompositionError
from editvec.registry.library.parcels import CheckedParcel
from editvec.registry.values import row_mask_text

TOLERANCE = 1e-5
"""Of a delta that somebody else summed, relative to what the terms add: float32, rounded often."""

Rows = tuple[bool, ...]


def settle(source: VectorSource, parcels: Sequence[CheckedParcel]) -> list[CheckedParcel]:
    """Makes compositions what their terms say: their sum, and the rows that it touches.

    A delta that differs by no more than rounding becomes the exact sum, so that it can be computed
    again from the terms. Vectors that are no compositions stay as they are.

    Args:
        source: the library that the terms are in, if they are not among the parcels before.
        parcels: in the order in which they are stored.

    Returns:
        The parcels with exact deltas, row masks, and terms with pinned versions.

    Raises:
        CompositionError: a delta is not the sum, or a row mask is not that of the sum.
        CompatibilityError: a term of another class, generator, shape or latent space.
        VectorNotFoundError: a term that the library does not hold.
        RetiredVectorError: a retired term of a new composition.
    """
    recalled = _Recalled(source)
    settled = []
    for checked in parcels:
        summed = [_pinned(recalled, checked, term) for term in checked.parcel.terms]
        result = _settled(recalled, checked, summed) if summed else checked
        settled.append(result)
        if result.parcel.archived_as is not None:
            recalled.pending[_ARCHIVED + result.parcel.archived_as] = _Pending(result, summed)
    return settled


def touched_rows(delta: FloatArray) -> Rows:
    """The row mask of a composition: the rows of its delta that are not zero."""
    return tuple((delta != 0).any(axis=1).tolist())


_ARCHIVED = "archived as "
"""Sets the addresses of an archive apart from the same addresses of the library."""


@dataclass(frozen=True)
class _Pending:
    """A vector that is stored in the same call, and its terms as `_pinned` gives them."""

    checked: CheckedParcel
    terms: Sequence[NewTerm | Term]

    @property
    def address(self) -> str:
        return f"{_ARCHIVED}{self.checked.parcel.archived_as}"

    @property
    def num_ws(self) -> int:
        return self.checked.shape.rows


class _Recalled:
    """The vectors of one call, and behind them those of the library, each read once."""

    def __init__(self, source: VectorSource) -> None:
        self.library = Recall(source)
        self.pending: dict[str, _Pending] = {}

    def vector(self, address: str, /) -> Summed:
        return self.pending.get(address) or self.library.vector(address)

    def delta(self, address: str, /) -> FloatArray:
        pending = self.pending.get(address)
        return self.library.delta(address) if pending is None else pending.checked.delta


def _settled(
    recalled: _Recalled, checked: CheckedParcel, summed: Sequence[NewTerm | Term]
) -> CheckedParcel:
    """One composition as it is stored."""
    parcel, new = checked.parcel, checked.new
    name = parcel.archived_as or f"{checked.model.name}/{new.name}"
    size = np.zeros(checked.delta.shape)
    try:
        leaves = weighted_leaves(recalled, summed)
        delta = to_float32(exact_sum(leaves)) if leaves else np.zeros_like(checked.delta)
        for leaf in leaves:
            size += np.abs(contribution(leaf))
    except CompositionError as exc:
        reason = str(exc).removeprefix("composition: ")
        raise CompositionError(f"composition {name}: {reason}") from exc
    rows = touched_rows(delta)
    if not any(rows):
        raise CompositionError(f"composition {name}: the terms cancel to zero")
    kept = np.array(new.row_mask or rows)[:, None] | (checked.delta != 0)
    _check_sum(checked.delta, np.where(kept, delta, 0), size, of=f"composition {name}")
    _check_row_mask(new.row_mask, rows, of=f"composition {name}")
    if new.latent_space == LatentSpace.W:
        check_w_rows(delta, rows, of=f"composition {name}")
    terms = tuple(replace(term, address=term.address.removeprefix(_ARCHIVED)) for term in summed)
    return replace(
        checked,
        parcel=replace(parcel, new=replace(new, row_mask=rows), terms=terms),
        delta=delta,
    )


def _pinned(recalled: _Recalled, checked: CheckedParcel, term: NewTerm | Term) -> NewTerm | Term:
    """A term of this class with its version; of the same call first, which its address tells."""
    pending = recalled.pending.get(_ARCHIVED + term.address)
    if pending is not None:
        other = pending.checked
        theirs: Mapping[str, Any] = {
            "class": other.model.name,
            "generator": other.model.generator_digest,
            "shape": tuple(other.shape),
            "latent space": str(other.new.latent_space),
        }
        _check_term(checked, theirs, address=term.address)
        return replace(term, address=pending.address)
    vector = recalled.library.vector(term.address, checked.model.name)
    if checked.parcel.archived_as is None:  # what was composed elsewhere is no new work
        require_active(vector, of=f"composition {checked.model.name}/{checked.new.name}")
    _check_term(checked, _properties(vector), address=term.address)
    return replace(term, address=vector.address)


def _properties(vector: EditingVector) -> Mapping[str, Any]:
    return {
        "class": vector.class_name,
        "generator": vector.generator_digest,
        "shape": (vector.num_ws, vector.w_dim),
        "latent space": str(vector.latent_space),
    }


def _check_term(checked: CheckedParcel, theirs: Mapping[str, Any], *, address: str) -> None:
    """Refuses a term that cannot be a part of this sum; rows of W make a vector of W+."""
    space = str(checked.new.latent_space)
    is_wider = (theirs["latent space"], space) == (LatentSpace.W, LatentSpace.W_PLUS)
    mine = {
        "class": checked.model.name,
        "generator": checked.model.generator_digest,
        "shape": tuple(checked.shape),
        "latent space": theirs["latent space"] if is_wider else space,
    }
    for what, wanted in mine.items():
        if wanted != theirs[what]:
            raise CompatibilityError(
                f"composition {checked.model.name}/{checked.new.name}: expected terms of {what} "
                f"{wanted}, {address} is of {what} {theirs[what]}"
            )


def _check_row_mask(given: Rows | None, rows: Rows, *, of: str) -> None:
    """Refuses a row mask that does not follow from the terms; None takes the one that does."""
    if given is None or tuple(given) == rows:
        return
    wanted, got = (row_mask_text(mask, num_ws=len(rows)) for mask in (rows, given))
    raise CompositionError(
        f"{of}: row mask: expected {wanted}, the rows that the sum of its terms touches, got "
        f"{got}; to keep fewer rows, give its terms row masks"
    )


def _check_sum(given: FloatArray, delta: FloatArray, size: Float64Array, *, of: str) -> None:
    """Refuses a delta that differs from the sum by more than rounding of terms of this size."""
    difference = np.abs(given.astype(np.float64) - delta)
    allowed = TOLERANCE * size + np.finfo(np.float32).tiny
    if not (difference <= allowed).all():
        row, column = np.unravel_index((difference - allowed).argmax(), difference.shape)
        raise CompositionError(
            f"{of}: expected the sum of its terms, its delta is off by "
            f"{difference[row, column]:.3g} at [{row}, {column}]"
        )
