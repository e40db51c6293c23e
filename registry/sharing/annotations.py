"""What a vector file says about itself: one JSON text among the metadata of safetensors.

With it, a vector travels as one file that any program can open: a tensor, and what it takes to
use it. It carries no mask pairs, metrics or terms; archives do.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy

from editvec.outputs import OutputFile
from editvec.registry.codec import MAX_HEADER_BYTES
from editvec.registry.entities.vectors import EditingVector, LatentSpace, RoiPolicy
from editvec.registry.errors import CodecError, ExchangeError
from editvec.registry.json_fields import Fields, unique_keys
from editvec.registry.library.library import Library

METADATA_KEY = "editvec"
TENSOR_NAME = "delta"
MAX_DILATION = 8192

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What a file says about its vector; None where it is silent.

    Attributes:
        row_mask: rows of the delta that it touches.
        brush_png: the painted region, an index PNG.
    """

    class_name: str | None = None
    generator_digest: str | None = None
    latent_space: LatentSpace | None = None
    row_mask: tuple[bool, ...] | None = None
    roi_labels: tuple[str, ...] | None = None
    roi_policy: RoiPolicy | None = None
    brush_png: bytes | None = None
    dilation: int | None = None
    default_scale: float | None = None
    scale_min: float | None = None
    scale_max: float | None = None
    license: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()


def read_annotation(metadata: Mapping[str, str], *, of: str) -> Annotation:
    """The annotation among the metadata of a file; an empty one where there is none.

    Raises:
        CodecError: it is not JSON, has a field that is not known, or a wrong value.
    """
    if METADATA_KEY not in metadata:
        return Annotation()
    of = f"{of}: metadata {METADATA_KEY!r}"
    fields = Fields(_parse(metadata[METADATA_KEY], of=of), of=of, error=CodecError)
    fields.check_known(_KEYS)

    def optional(key: str, read: Callable[[str], _Value]) -> _Value | None:
        return None if fields.is_silent(key) else read(key)

    return Annotation(
        class_name=optional("class", fields.name),
        generator_digest=optional("generator_digest", fields.digest),
        latent_space=optional("latent_space", lambda key: fields.one_of(key, LatentSpace)),
        row_mask=optional("row_mask", fields.booleans),
        roi_labels=optional("roi_labels", fields.texts),
        roi_policy=optional("roi_policy", lambda key: fields.one_of(key, RoiPolicy)),
        brush_png=optional("brush_png", lambda key: _from_base64(fields, key)),
        dilation=optional("dilation", lambda key: fields.integer(key, 0, MAX_DILATION)),
        default_scale=optional("default_scale", fields.number),
        scale_min=optional("scale_min", fields.number),
        scale_max=optional("scale_max", fields.number),
        license=optional("license", fields.text),
        description=optional("description", fields.text),
        tags=optional("tags", fields.texts) or (),
    )


def export_vector(library: Library, path: Path | OutputFile, address: str) -> EditingVector:
    """Writes one vector as one safetensors file that says what it is.

    Equal vectors give equal bytes, and adding the file again gives equal content.

    Args:
        library: where it is.
        path: the file; it appears whole, and replaces an older one of ours.
        address: of the vector.

    Raises:
        VectorNotFoundError: no such vector.
        ExchangeError: it says more than the header of a file holds.
        OutputError: at `path` lies another file, or it cannot be written.
        BlobError: a blob is missing or was altered.
    """
    target = path if isinstance(path, OutputFile) else OutputFile(path)
    vector = library.get_vector(address)
    brush = None if vector.brush_digest is None else library.blobs.get(vector.brush_digest)
    text = _annotation_text(vector, brush)
    if len(text.encode()) > MAX_HEADER_BYTES // 2:
        raise ExchangeError(
            f"export {vector.address}: its brush or description is too large for the header of one "
            "file; an archive (any other suffix) holds it"
        )
    target.check()
    tensors = {TENSOR_NAME: np.ascontiguousarray(library.delta(vector), dtype="<f4")}
    # one metadata key only: the writer orders several of them at random
    target.write(safetensors.numpy.save(tensors, metadata={METADATA_KEY: text}))
    return vector


def _annotation_text(vector: EditingVector, brush: bytes | None) -> str:
    content: dict[str, Any] = {
        "class": vector.class_name,
        "generator_digest": vector.generator_digest,
        "latent_space": vector.latent_space.value,
        "row_mask": list(vector.row_mask),
        "roi_labels": list(vector.roi_labels),
        "roi_policy": vector.roi_policy.value,
        "brush_png": None if brush is None else base64.b64encode(brush).decode(),
        "dilation": vector.dilation,
        "default_scale": vector.default_scale,
        "scale_min": vector.scale_min,
        "scale_max": vector.scale_max,
        "license": vector.license,
        "description": vector.description,
        "tags": list(vector.tags),
    }
    said = {key: value for key, value in content.items() if value is not None}
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


# fmt: off
_KEYS = frozenset({
    "class", "generator_digest", "latent_space", "row_mask", "roi_labels", "roi_policy",
    "brush_png", "dilation", "default_scale", "scale_min", "scale_max", "license", "description",
    "tags",
})
# fmt: on


def _parse(text: str, *, of: str) -> object:
    try:
        content: object = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as exc:
        raise CodecError(f"{of}: not JSON ({exc})") from exc
    return content


def _from_base64(fields: Fields, key: str) -> bytes:
    try:
        return base64.b64decode(fields.text(key), validate=True)
    except binascii.Error as exc:
        raise fields.refuse(key, "base64") from exc
