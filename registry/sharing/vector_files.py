"""Adds a vector file: its array, what the file says about it, and what the user says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from editvec.registry import codec
from editvec.registry.addresses import parse_class_address
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.spaces import rows_between
from editvec.registry.entities.vectors import (
    Kind,
    LatentSpace,
    NewMaskPair,
    NewVector,
    OriginalFile,
    RoiPolicy,
    StoredVector,
    VectorParcel,
)
from editvec.registry.errors import CodecError, CompatibilityError
from editvec.registry.library.contents import scheme_of_class
from editvec.registry.library.library import Library
from editvec.registry.masks.pairs import PairFiles, read_mask_pair
from editvec.registry.sharing import foreign_vectors as foreign
from editvec.registry.sharing.annotations import Annotation, read_annotation

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class FileRequest:
    """What is said about a vector file; None leaves it to the file.

    What the file says itself need not be repeated, and cannot be contradicted.

    Attributes:
        class_name: `avatars` or `avatars@2`; None also takes the only class of the library.
        name: None takes the file's name.
        version: None takes the next one.
        latent_space: needed for a file of one row.
        rows: first and last + 1 of the rows that shall be kept; None keeps what the file touches.
        roi_labels: parts that the vector may change.
        roi_policy: None means `labels` without a brush, `brush` with a brush and no part, and
            `union` with both.
        brush_png: the painted region, an index PNG, 0 = keep.
        dilation: ROI buffer in pixels.
        scale_range: lowest and highest usable scale.
        pair_files: mask pairs that the vector comes from; the scheme of the class reads them.
    """

    class_name: str | None = None
    name: str | None = None
    version: int | None = None
    latent_space: LatentSpace | None = None
    rows: tuple[int, int] | None = None
    roi_labels: tuple[str, ...] | None = None
    roi_policy: RoiPolicy | None = None
    brush_png: bytes | None = None
    dilation: int | None = None
    default_scale: float | None = None
    scale_range: tuple[float, float] | None = None
    license: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    pair_files: tuple[PairFiles, ...] = ()


def add_vector_file(
    library: Library,
    path: Path,
    request: FileRequest,
    *,
    pairs: Sequence[NewMaskPair] = (),
    reason: str = "",
) -> StoredVector:
    """Stores the vector of a file, and the file itself as its original.

    Reads EditGAN's and StyleGAN2's `.npy`, InterFaceGAN's boundaries, and safetensors with one
    tensor, told apart by content.

    Args:
        library: must hold the class.
        path: the file.
        request: what the file does not say.
        pairs: mask pairs that belong to the vector, beside those that the request names.
        reason: why, for the history.

    Raises:
        CodecError: the file cannot be read, or holds no usable vector of the class.
        CompatibilityError: another generator, a space that is missing, or a contradiction between
            the file and the request.
        RegistryError: as `Library.add_vectors` does.
    """
    parcel = read_vector_file(library, path, request, pairs=pairs)
    return library.add_vectors([parcel], reason=reason)[0]


def read_vector_file(
    library: Library, path: Path, request: FileRequest, *, pairs: Sequence[NewMaskPair] = ()
) -> VectorParcel:
    """What `add_vector_file` would store.

    Raises:
        RegistryError: as `add_vector_file` does.
    """
    of = f"vector file {path}"
    data = codec.read_file(path, of=of)
    tensor = codec.load_tensor(data, of=of)
    said = read_annotation(tensor.metadata, of=of)
    model = _class_of(library, said, request, of=of)
    space = _agreed(of, "latent space", said.latent_space, request.latent_space)
    fitted = foreign.fit_array(tensor.array, model, space=space, of=of)
    brush = said.brush_png if request.brush_png is None else request.brush_png
    if said.brush_png not in (None, brush):
        raise CompatibilityError(f"{of}: brush: the file has one of its own, which differs")
    roi_labels = _agreed_parts(
        of, model.parts(said.roi_labels or ()), model.parts(request.roi_labels or ())
    )
    policy = _agreed(of, "ROI policy", said.roi_policy, request.roi_policy)
    low, high = request.scale_range or (None, None)
    new = NewVector(
        class_name=model.address,
        name=path.stem if request.name is None else request.name,
        version=request.version,
        kind=Kind.IMPORTED,
        latent_space=fitted.space,
        generator_digest=said.generator_digest,
        row_mask=_row_mask(fitted, said, request, of=of),
        roi_labels=roi_labels,
        roi_policy=policy or _implied_policy(roi_labels, brush),
        dilation=_agreed(of, "dilation", said.dilation, request.dilation),
        default_scale=_or(
            1.0, _agreed(of, "default scale", said.default_scale, request.default_scale)
        ),
        scale_min=_agreed(of, "lowest scale", said.scale_min, low),
        scale_max=_agreed(of, "highest scale", said.scale_max, high),
        license=_agreed(of, "license", said.license or None, request.license or None) or "",
        description=request.description or said.description or "",
        tags=tuple({*said.tags, *request.tags}),
    )
    original = OriginalFile(name=path.name, data=data)
    read = [read_mask_pair(files, scheme_of_class(library, model)) for files in request.pair_files]
    return VectorParcel(
        new=new, delta=fitted.delta, pairs=(*pairs, *read), brush_png=brush, original=original
    )


def _class_of(library: Library, said: Annotation, request: FileRequest, *, of: str) -> ClassModel:
    """The class that was asked for, that the file names, or the only one there is.

    Of a class with several generators, the file's own picks the version.
    """
    wanted, version = request.class_name, None
    if wanted is not None:
        wanted, version = parse_class_address(wanted)
    name = _agreed(of, "class", said.class_name, wanted)
    if name is None or version is not None or said.generator_digest is None:
        return library.get_class(request.class_name or name)
    return library.get_class_of_generator(name, said.generator_digest)


def _row_mask(
    fitted: foreign.ForeignDelta, said: Annotation, request: FileRequest, *, of: str
) -> tuple[bool, ...]:
    """The rows that the file says, or those that it touches, of the rows that were asked for."""
    asked = None
    if request.rows is not None:
        asked = rows_between(*request.rows, rows=len(fitted.row_mask))
    if said.row_mask is not None:
        return _agreed(of, "rows", said.row_mask, asked) or said.row_mask
    if asked is None:
        return fitted.row_mask
    both = tuple(mine and other for mine, other in zip(fitted.row_mask, asked, strict=True))
    if not any(both):
        raise CodecError(f"{of}: the rows that shall be kept are zero, so it would change nothing")
    return both


def _agreed_parts(of: str, said: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
    """ROI parts, in the order in which they were asked for."""
    if said and asked and set(said) == set(asked):
        return asked
    return _agreed(of, "ROI", said or None, asked or None) or ()


def _implied_policy(roi_labels: tuple[str, ...], brush: bytes | None) -> RoiPolicy:
    if brush is None:
        return RoiPolicy.LABELS
    return RoiPolicy.UNION if roi_labels else RoiPolicy.BRUSH


def _agreed(of: str, what: str, said: _Value | None, asked: _Value | None) -> _Value | None:
    """What the file says or what was asked for; not both, unless they are the same."""
    if None not in (said, asked) and said != asked:
        raise CompatibilityError(
            f"{of}: {what}: the file says {_shown(said)}, asked was for {_shown(asked)}"
        )
    return said if asked is None else asked


def _or(default: _Value, value: _Value | None) -> _Value:
    return default if value is None else value


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        is_mask = all(isinstance(one, bool) for one in value)
        return "".join(str(int(one)) for one in value) if is_mask else ", ".join(map(str, value))
    return str(value)
