"""Pixels to the bytes of an image file, with the record of where they come from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from editvec.batch.recipes.settings import ImageFormat
from editvec.batch.runs.plan import RunPlan
from editvec.registry.release import engine_version

# Level 6 takes a third longer and saves little.
_PNG_LEVEL = 1
# Pillow's 4 takes two to three times as long, for a size within 2 %.
_WEBP_METHOD = 2
# From here on colours are kept at full resolution: edits are small, and so are their edges.
_FULL_COLOR_QUALITY = 90
_SOFTWARE, _EXIF_IFD, _USER_COMMENT = 0x0131, 0x8769, 0x9286
_ASCII = b"ASCII\0\0\0"
# A JPEG holds its EXIF data in one segment of 64 KiB.
_MAX_EXIF_TEXT = 60_000

PNG_KEYWORD = "editvec"

Pixels = npt.NDArray[np.uint8]


def encode_image(
    pixels: Pixels,
    image_format: ImageFormat,
    provenance: Mapping[str, Any] | None = None,
    *,
    profile: bytes | None = None,
) -> bytes:
    """Encodes an image; equal pixels and provenance make equal bytes.

    A PNG holds the provenance as JSON in the text chunk ``editvec``; JPEG and WebP hold it in the
    EXIF field UserComment. The field Software names the program in all of them.

    Args:
        pixels: uint8 [H, W, 3]; [H, W, 4] with transparency, which JPEG has not.
        image_format: the format and its quality.
        provenance: plain values with the key ``edited_by``; None writes no metadata.
        profile: ICC profile of the pixels; None writes none, which means sRGB.

    Raises:
        OSError: the format cannot hold a picture of this size.
    """
    image, stream = Image.fromarray(pixels), io.BytesIO()
    options = _options(image_format) | _metadata(image_format, provenance)
    if profile is not None:
        options["icc_profile"] = profile
    try:
        image.save(stream, **options)
    except ValueError as exc:
        raise OSError(f"no {image_format.kind} can be made of it: {exc}") from exc
    return stream.getvalue()


def _options(image_format: ImageFormat) -> dict[str, Any]:
    quality = image_format.quality
    if image_format.kind == "png":
        return {"format": "PNG", "compress_level": _PNG_LEVEL}
    if image_format.kind == "jpeg":
        is_full = quality is not None and quality >= _FULL_COLOR_QUALITY
        return {
            "format": "JPEG",
            "quality": quality,
            "subsampling": "4:4:4" if is_full else "4:2:0",
        }
    if quality is None:
        return {
            "format": "WEBP",
            "lossless": True,
            "exact": True,  # also the colours where nothing can be seen
            "quality": 20,
            "method": _WEBP_METHOD,
        }
    return {"format": "WEBP", "quality": quality, "method": _WEBP_METHOD}


def _metadata(image_format: ImageFormat, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    if provenance is None:
        return {}
    if image_format.kind == "png":
        info = PngInfo()
        info.add_text("Software", provenance["edited_by"])
        info.add_itxt(PNG_KEYWORD, json.dumps(provenance, ensure_ascii=False))
        return {"pnginfo": info}
    text = json.dumps(provenance)
    if len(text) > _MAX_EXIF_TEXT:
        count = len(provenance["vectors"])
        text = json.dumps({**provenance, "vectors": f"{count} vectors: see metadata.jsonl"})
    exif = Image.Exif()
    exif[_SOFTWARE] = provenance["edited_by"]
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _ASCII + text.encode("ascii")
    return {"exif": exif.tobytes()}


def provenance(
    plan: RunPlan,
    recipe_position: int,
    input_position: int,
    *,
    source_digest: str,
    content_key: str,
) -> dict[str, Any]:
    """The record that goes into the metadata of an image; equal for equal content keys.

    Args:
        plan: the plan of the run.
        recipe_position: which recipe made the image.
        input_position: from which input of the run.
        source_digest: of the input file, or of what stands for a sampled one.
        content_key: of the item.
    """
    return {
        "edited_by": engine_version(),
        "vectors": [
            edit.to_json() | {"delta_digest": edit.vector.delta_digest}
            for edit in plan.edits_of(recipe_position, input_position)
        ],
        "source_digest": source_digest,
        "generator_digest": plan.generator_digest,
        "content_key": content_key,
    }
