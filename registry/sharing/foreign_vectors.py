"""Vector files of other programs: one function per format, which knows what its numbers mean.

These files hold only an array: no class and no part. If it has one row, they do not tell its space
either.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.registry import codec
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.spaces import shape_in
from editvec.registry.entities.vectors import FloatArray, LatentSpace
from editvec.registry.errors import CompatibilityError


class ForeignDelta(NamedTuple):
    """An array of a file, read for one class.

    Attributes:
        space: where it lives.
        delta: [num_ws, w_dim] in W and W+, [1, z_dim] in Z, [1, channels] in S.
        row_mask: the rows that it touches.
    """

    space: LatentSpace
    delta: FloatArray
    row_mask: tuple[bool, ...]


def fit_array(
    array: npt.NDArray[np.generic], model: ClassModel, *, space: LatentSpace | None, of: str
) -> ForeignDelta:
    """Reads the array of a vector file for one class; its shape tells the format.

    Args:
        array: any float dtype.
        model: the class that it was made for.
        space: where it lives; None where the shape says so.
        of: what messages call it.

    Raises:
        CodecError: another dtype or shape, NaN or infinity, or all zeros.
        CompatibilityError: the space is not given and the shape does not tell, or they contradict.
    """
    array = codec.finite_float32(array, of=of)
    if space is LatentSpace.S:
        return style_channels(array, model, of=of)
    if array.ndim <= 1 or (array.ndim == 2 and array.shape[0] == 1):
        return interfacegan_boundary(array.reshape(1, -1), model, space=space, of=of)
    if space is LatentSpace.Z:
        raise CompatibilityError(f"{of}: expected one row in space Z, got {list(array.shape)}")
    if array.ndim == 3 and array.shape[0] == 1:
        return editgan_vector(array, model, space=space, of=of)
    return stylegan2_direction(array, model, space=space, of=of)


def editgan_vector(
    array: FloatArray, model: ClassModel, *, space: LatentSpace | None, of: str
) -> ForeignDelta:
    """EditGAN's editing vectors (github.com/nv-tlabs/editGAN_release): [1, num_ws, w_dim] in W+.

    EditGAN looks their parts up by the prefix of the file's name; here they must be said.
    """
    return stylegan2_direction(array[0], model, space=space, of=of)


def stylegan2_direction(
    array: FloatArray, model: ClassModel, *, space: LatentSpace | None, of: str
) -> ForeignDelta:
    """Direction files as they go round for StyleGAN2 (R. Luxemburg's): [num_ws, w_dim] in W+.

    They come as float16, float32 or float64. Rows that are all zero are rows that the direction
    does not touch.
    """
    delta = codec.check_delta(array, num_ws=model.num_ws, w_dim=model.w_dim, of=of)
    touched = tuple((delta != 0).any(axis=1).tolist())
    return ForeignDelta(space or LatentSpace.W_PLUS, delta, touched)


def interfacegan_boundary(
    array: FloatArray, model: ClassModel, *, space: LatentSpace | None, of: str
) -> ForeignDelta:
    """InterFaceGAN's boundaries (github.com/genforce/interfacegan): [1, 512], a unit normal.

    The file does not say whether it is a normal in W or in Z. One of W moves every row of `ws`
    alike; one of Z stays one row.
    """
    if space is None:
        raise CompatibilityError(
            f"{of}: one row may live in W or in Z, which the file does not say; give the space "
            "(--space W or --space Z)"
        )
    if space is LatentSpace.W_PLUS:
        raise CompatibilityError(
            f"{of}: expected [{model.num_ws}, {model.w_dim}] in space W+, got one row of "
            f"{array.shape[1]}; one row lives in W or in Z"
        )
    columns = model.z_dim if space is LatentSpace.Z else model.w_dim
    row = codec.check_delta(array, num_ws=1, w_dim=columns, of=of)
    rows = shape_in(space, model, columns=columns).rows
    return ForeignDelta(space, np.repeat(row, rows, axis=0), (True,) * rows)


def style_channels(array: FloatArray, model: ClassModel, *, of: str) -> ForeignDelta:
    """Offsets of style channels (StyleSpace, Wu et al. 2021): [channels] or [1, channels] in S."""
    flat = array.reshape(1, -1) if array.ndim <= 1 else array
    shape = shape_in(LatentSpace.S, model, columns=flat.shape[-1])
    delta = codec.check_delta(flat, num_ws=shape.rows, w_dim=shape.columns, of=of)
    return ForeignDelta(LatentSpace.S, delta, (True,))
