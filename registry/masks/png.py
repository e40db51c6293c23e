"""Label masks as index PNGs, by Pillow: OpenCV would turn palette indices into colours."""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, PngImagePlugin

from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import NewMaskPair
from editvec.registry.errors import MaskError
from editvec.registry.labels.label import IGNORED, Label, void_color

MAX_PIXELS = 1 << 26
INDEX_KEY = "editvec-mask"
"""Text in a PNG of ours: `INDICES`, or the name of the part of each value, as JSON."""
INDICES = "indices"
"""Says that a PNG holds indices of parts, whatever values the scheme's own files hold."""

INDEX_MODES = ("P", "L", "I;16", "1")
_PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")

MaskArray = npt.NDArray[np.int32]


def read_mask(path: Path, labels: Sequence[Label] = ()) -> MaskArray:
    """Reads a label mask from a file; int32 [H, W].

    Args:
        path: of an index PNG.
        labels: as for `decode_mask`.

    Raises:
        MaskError: the file cannot be read, is no PNG, or holds colours instead of indices.
    """
    of = f"mask {path}"
    return decode_mask(read_bytes(path, of=of), labels, of=of)


def decode_mask(data: bytes, labels: Sequence[Label] = (), *, of: str = "mask") -> MaskArray:
    """The labels of an index PNG: palette, 8-bit or 16-bit grey, or 1-bit; int32 [H, W].

    Args:
        data: of the file.
        labels: the scheme, which tells the value of ignored pixels; without it values are given
            as they are.
        of: what messages call it.

    Raises:
        MaskError: the bytes are no readable PNG, or hold colours instead of indices.
    """
    image = _open(data, ("PNG",), of=of)
    if image.mode not in INDEX_MODES:
        raise MaskError(
            f"{of}: expected a PNG of label indices (palette or grey), got mode {image.mode}, "
            "where colours hide the labels"
        )
    if (said := image.info.get(INDEX_KEY)) is not None and said != INDICES:
        raise MaskError(f"{of}: it holds the values of a scheme, {said:.80}; expected indices")
    mask = np.asarray(image).astype(np.int32)
    if labels:
        mask[mask == ignored_value(labels)] = IGNORED
    return mask


def ignored_value(labels: Sequence[Label]) -> int:
    """What a PNG of indices holds for pixels that count nowhere: no index of the scheme."""
    return 255 if len(labels) <= 255 else 65535


def encode_mask(mask: npt.NDArray[np.integer[Any]], labels: Sequence[Label]) -> bytes:
    """An index PNG: 8 bit with the scheme's colours as palette, else grey of 16 bits.

    Ignored pixels become `ignored_value`.

    Args:
        mask: label indices, or `IGNORED`, [H, W].
        labels: the scheme.

    Raises:
        MaskError: another number of axes, or an index that the scheme does not have.
    """
    check_labels(mask, labels, of="mask")
    void = ignored_value(labels)
    has_ignored = bool((mask == IGNORED).any())
    values = np.where(mask == IGNORED, void, mask)
    if len(labels) > 256 or (has_ignored and void > 255):
        image = Image.fromarray(values.astype(np.uint16))
    else:
        image = Image.fromarray(values.astype(np.uint8), mode="L")
        colors = [label.color for label in labels]
        if has_ignored:
            colors += [*[(0, 0, 0)] * (void - len(labels)), void_color(labels)]
        image.putpalette([value for color in colors for value in color])
    info = PngImagePlugin.PngInfo()
    info.add_text(INDEX_KEY, INDICES)
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=False, pnginfo=info)
    return stream.getvalue()


def check_labels(
    mask: npt.NDArray[np.integer[Any]], labels: Sequence[Label], *, of: str = "mask"
) -> None:
    """Refuses label indices that the scheme does not have; `IGNORED` passes.

    Raises:
        MaskError: names the first such pixel.
    """
    if mask.ndim != 2:
        raise MaskError(f"{of}: expected shape [H, W], got {list(mask.shape)}")
    unknown = ((mask < 0) & (mask != IGNORED)) | (mask >= len(labels))
    if unknown.any():
        row, column = (int(place) for place in np.argwhere(unknown)[0])
        raise MaskError(
            f"{of}: label {int(mask[row, column])} at row {row}, column {column} is none of the "
            f"{len(labels)} labels (0 to {len(labels) - 1}); {int(unknown.sum())} such pixels"
        )


def check_counted(mask: npt.NDArray[np.integer[Any]], *, of: str) -> None:
    """Refuses a mask of which every pixel is ignored.

    Raises:
        MaskError: it says nothing.
    """
    if (mask == IGNORED).all():
        raise MaskError(f"{of}: every pixel is ignored: it says nothing of the picture")


def check_size(mask: npt.NDArray[np.integer[Any]], height: int, width: int, *, of: str) -> None:
    """Refuses a mask of another size.

    Raises:
        MaskError: gives both sizes, width by height.
    """
    if mask.shape != (height, width):
        raise MaskError(
            f"{of}: expected {width} x {height} pixels, got {mask.shape[1]} x {mask.shape[0]}"
        )


def check_pair(pair: NewMaskPair, model: ClassModel) -> None:
    """Checks that a pair's masks fit the label scheme, the image and each other.

    Raises:
        MaskError: one of the three pictures is unreadable, or does not fit.
    """
    image = _open(pair.image_png, ("PNG",), of="image of the mask pair")
    for mask_png, of in (
        (pair.mask_before_png, "mask before"),
        (pair.mask_after_png, "mask after"),
    ):
        mask = decode_mask(mask_png, model.labels, of=of)
        check_size(mask, image.height, image.width, of=of)
        check_labels(mask, model.labels, of=of)
        check_counted(mask, of=of)


def read_picture(path: Path) -> bytes:
    """Reads an image as PNG bytes: a PNG as it is, another format upright and re-encoded.

    Raises:
        MaskError: the file cannot be read, or is no picture.
    """
    data = read_bytes(path, of=f"image {path}")
    image = _open(data, _PICTURE_FORMATS, of=f"image {path}")
    if image.format == "PNG":
        return data
    stream = io.BytesIO()
    ImageOps.exif_transpose(image).convert("RGB").save(stream, format="PNG")
    return stream.getvalue()


def decode_picture(data: bytes, *, of: str = "image") -> Image.Image:
    """The picture of PNG bytes as 8-bit RGB; what is transparent lies on white.

    Raises:
        MaskError: the bytes are no readable PNG.
    """
    image = _open(data, ("PNG",), of=of)
    if image.mode.startswith("I"):  # 16 bits: Pillow would cut them off instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def open_png(data: bytes, *, of: str) -> Image.Image:
    """The picture of PNG bytes as it is stored, decoded to its last pixel.

    Raises:
        MaskError: the bytes are no readable PNG.
    """
    if data[:3] == b"\xff\xd8\xff":
        raise MaskError(f"{of}: JPEG changes colours, and so labels; a mask is a PNG")
    return _open(data, ("PNG",), of=of)


def read_bytes(path: Path, *, of: str) -> bytes:
    """The bytes of a picture's file.

    Raises:
        MaskError: it cannot be read, or is no regular file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # others could block or never end
            raise MaskError(f"{of}: expected a regular file")
        return path.read_bytes()
    except OSError as exc:
        raise MaskError(f"{of}: {exc.strerror or exc}") from exc


def _open(data: bytes, formats: tuple[str, ...], *, of: str) -> Image.Image:
    """Decodes the whole picture: a truncated one opens well and fails at its pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=formats)
            if image.width * image.height > MAX_PIXELS:
                raise MaskError(f"{of}: {image.width} x {image.height} pixels are too many")
            image.load()
    except MaskError:
        raise
    except (OSError, ValueError, TypeError, SyntaxError, MemoryError, EOFError) as exc:
        raise MaskError(f"{of}: not a readable {' or '.join(formats)} ({_brief(exc)})") from exc
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise MaskError(f"{of}: too many pixels ({_brief(exc)})") from exc
    return image


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
