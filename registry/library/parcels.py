"""What is about to be stored: a vector with its delta, pairs, metrics and terms, all checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from editvec.registry import codec
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.spaces import DeltaShape, check_w_rows, shape_in
from editvec.registry.entities.vectors import (
    FloatArray,
    Kind,
    LatentSpace,
    MaskPair,
    NewVector,
    OriginalFile,
    ParcelDigests,
    TermRole,
    VectorParcel,
)
from editvec.registry.errors import RecordError
from editvec.registry.library.records import metric_row, vector_row
from editvec.registry.masks import png as masks
from editvec.registry.masks.brushes import check_brush
from editvec.registry.values import checked_number, one_of, parse_row_mask, row_mask_text

_MAX_FILE_NAME = 255
_NO_FILE_NAME = ("", ".", "..")


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

    @property
    def shape(self) -> DeltaShape:
        """Rows and columns of the delta."""
        rows, columns = self.delta.shape
        return DeltaShape(rows, columns)


def check_parcel(parcel: VectorParcel, model: ClassModel) -> CheckedParcel:
    """Checks everything that can be checked without the database; rows outside the mask become 0.

    Whether a composition is the sum of its terms, `recipes.settle` tells.

    Raises:
        RegistryError: a child that says what is wrong.
    """
    new = parcel.new
    space = one_of(LatentSpace, new.latent_space, of="latent space")
    shape = shape_in(space, model, columns=np.shape(parcel.delta)[-1] if parcel.delta.ndim else 0)
    # making the rows checks their values; the store makes them again with version and digests
    vector_row(new, model, ParcelDigests(""), shape=shape, version=1, created_by="")
    for metric in parcel.metrics:
        metric_row(metric)
    for term in parcel.terms:
        checked_number(term.scale, of=f"scale of term {term.address}")
        row_mask_text(term.row_mask, num_ws=shape.rows)
        one_of(TermRole, term.role, of=f"role of term {term.address}")
    if (new.kind == Kind.COMPOSED) != bool(parcel.terms):
        raise RecordError(f"vector {new.name}: a composed vector has terms, another has none")
    delta = _masked_delta(parcel, shape, space)
    check_brush(new, parcel.brush_png, model)
    if parcel.original is not None:
        _check_original(parcel.original)
    if parcel.preview_png is not None:
        masks.decode_picture(parcel.preview_png, of=f"preview of {new.name}")
    for pair in parcel.pairs:
        masks.check_pair(pair, model)
        if pair.source_ws is not None:
            codec.check_shape(pair.source_ws, (model.num_ws, model.w_dim), of="source ws")
    return CheckedParcel(parcel, model, delta)


def _masked_delta(parcel: VectorParcel, shape: DeltaShape, space: LatentSpace) -> FloatArray:
    """The delta as it is stored: rows outside the mask are zeros; a sum is told by its terms."""
    new, of = parcel.new, f"delta of {parcel.new.name}"
    delta = codec.check_delta(parcel.delta, num_ws=shape.rows, w_dim=shape.columns, of=of)
    row_mask = parse_row_mask(row_mask_text(new.row_mask, num_ws=shape.rows))
    if parcel.terms:
        return delta
    if space is LatentSpace.W:
        check_w_rows(delta, row_mask, of=of)
    # adding 0 takes the sign off zeros, so that 1 times a delta has the very bytes of the delta
    masked = np.where(np.array(row_mask)[:, None], delta, np.float32(0)) + np.float32(0)
    return codec.check_delta(masked, num_ws=shape.rows, w_dim=shape.columns, of=of)


def base_name(name: str) -> str:
    r"""The last part of a path, as a name that can be shown and stored anywhere.

    Example:
        >>> base_name("../boundaries/age.npy"), base_name("C:\\Temp\\age.npy")
        ('age.npy', 'age.npy')
    """
    last = re.split(r"[/\\]", name.strip())[-1]
    printable = "".join(letter if letter.isprintable() else "_" for letter in last)
    shortened = printable[-_MAX_FILE_NAME:]
    return "unnamed" if shortened in _NO_FILE_NAME else shortened


def _check_original(original: OriginalFile) -> None:
    if len(original.data) > codec.MAX_FILE_BYTES:
        raise RecordError(
            f"original file {base_name(original.name)}: larger than "
            f"{codec.MAX_FILE_BYTES >> 20} MiB"
        )


def contents_of(checked: CheckedParcel) -> list[bytes]:
    """A parcel's blobs: delta, brush, original and preview, then image, masks, ws of each pair."""
    parcel = checked.parcel
    contents = [codec.encode_latent(checked.delta)]
    if parcel.brush_png is not None:
        contents.append(parcel.brush_png)
    if parcel.original is not None:
        contents.append(parcel.original.data)
    if parcel.preview_png is not None:
        contents.append(parcel.preview_png)
    for pair in parcel.pairs:
        contents += [pair.image_png, pair.mask_before_png, pair.mask_after_png]
        if pair.source_ws is not None:
            contents.append(codec.encode_latent(pair.source_ws))
    return contents


def name_digests(checked: CheckedParcel, digests: Iterator[str]) -> ParcelDigests:
    """Takes a parcel's digests off the front, in the order of `contents_of`."""
    parcel = checked.parcel
    return ParcelDigests(
        # evaluated in this order, which is that of the digests
        delta=next(digests),
        brush=None if parcel.brush_png is None else next(digests),
        original=None if parcel.original is None else next(digests),
        original_name=None if parcel.original is None else base_name(parcel.original.name),
        preview=None if parcel.preview_png is None else next(digests),
        pairs=tuple(
            MaskPair(
                image_digest=next(digests),
                mask_before_digest=next(digests),
                mask_after_digest=next(digests),
                source_ws_digest=None if pair.source_ws is None else next(digests),
            )
            for pair in parcel.pairs
        ),
    )
