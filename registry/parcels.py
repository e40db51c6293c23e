"""What is about to be stored: a vector with its delta, pairs, metrics and terms, all checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from registry import codec, masks
from registry.entities import (
    ClassModel,
    FloatArray,
    Kind,
    MaskPair,
    NewVector,
    VectorParcel,
)
from registry.errors import RecordError
from registry.records import (
    checked_number,
    metric_row,
    parse_row_mask,
    row_mask_text,
    vector_row,
)


@dataclass(frozen=True)
class CheckedParcel:
    """A parcel whose every value was checked, its class model, and its delta as it is stored."""

    parcel: VectorParcel
    model: ClassModel
    delta: FloatArray

    @property
    def new(self) -> NewVector:
        """The vector's record."""
        return self.parcel.new


class ParcelDigests(NamedTuple):
    """What became of a parcel's bytes in the blob store."""

    delta_digest: str
    pairs: tuple[MaskPair, ...]


def check_parcel(parcel: VectorParcel, model: ClassModel) -> CheckedParcel:
    """Checks everything that can be checked without the database; rows outside the mask become 0.

    Raises:
        RegistryError: a child that says what is wrong.
    """
    new = parcel.new
    # making the rows checks their values; the store makes them again with version and digest
    vector_row(new, model, delta_digest="", version=1, created_by="")
    for metric in parcel.metrics:
        metric_row(metric)
    for term in parcel.terms:
        checked_number(term.scale, of=f"scale of term {term.address}")
        row_mask_text(term.row_mask, num_ws=model.num_ws)
    if (new.kind == Kind.COMPOSED) != bool(parcel.terms):
        raise RecordError(f"vector {new.name}: a composed vector has terms, another has none")
    rows = np.array(parse_row_mask(row_mask_text(new.row_mask, num_ws=model.num_ws)))
    of = f"delta of {new.name}"
    delta = codec.check_delta(parcel.delta, num_ws=model.num_ws, w_dim=model.w_dim, of=of)
    delta = codec.check_delta(
        np.where(rows[:, None], delta, np.float32(0)), num_ws=model.num_ws, w_dim=model.w_dim, of=of
    )
    for pair in parcel.pairs:
        masks.check_pair(pair, model)
        if pair.source_ws is not None:
            codec.check_shape(pair.source_ws, (model.num_ws, model.w_dim), of="source ws")
    return CheckedParcel(parcel, model, delta)


def contents_of(checked: CheckedParcel) -> list[bytes]:
    """A parcel's blobs: the delta, then each pair's image, masks, and ws if there are any."""
    contents = [codec.encode_latent(checked.delta)]
    for pair in checked.parcel.pairs:
        contents += [pair.image_png, pair.mask_before_png, pair.mask_after_png]
        if pair.source_ws is not None:
            contents.append(codec.encode_latent(pair.source_ws))
    return contents


def name_digests(checked: CheckedParcel, digests: Iterator[str]) -> ParcelDigests:
    """Takes a parcel's digests off the front, in the order of `contents_of`."""
    delta_digest = next(digests)
    pairs = tuple(
        MaskPair(
            image_digest=next(digests),
            mask_before_digest=next(digests),
            mask_after_digest=next(digests),
            source_ws_digest=None if pair.source_ws is None else next(digests),
        )
        for pair in checked.parcel.pairs
    )
    return ParcelDigests(delta_digest, pairs)
