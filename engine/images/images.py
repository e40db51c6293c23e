"""Image files <-> pixels <-> images: the one place where range, dtype and layout change.

    pixels  uint8 [H, W, 3], sRGB, upright
    images  float32 [N, 3, H, W], RGB, [-1, 1]
    mask    integers [H, W]; only ever resized by choosing the nearest pixel

Reading is safe in threads and changes no setting of Pillow.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from editvec.engine.errors import EngineMaskError, EngineSettingsError, ImageError, ShapeError
from editvec.engine.images.decoding import (
    FORMATS,
    MASK_FORMATS,
    MAX_PIXELS,
    SourcePicture,
    decode_file,
    decode_mask,
    decode_picture,
    decode_source,
)
from editvec.whole_files import write_whole

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.int32]
Fit = Literal["stretch", "crop", "pad"]

# ---------------------------------------------------------------------------------------------
# Files -> pixels.


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read a picture: decoded to the last byte, upright, in sRGB.

    The EXIF orientation is applied, once. 16-bit samples are scaled to 8 bits. Colours are
    converted to sRGB where the file says that they are others (see `color`); a picture that is sRGB
    stays as it is. Transparency is then composited on white. Of an animation the first frame is
    taken.

    Args:
        path: A PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF or PNM file, whatever its suffix says.
        max_pixels: Pictures with more pixels are refused before they are decoded.

    Returns:
        uint8 [H, W, 3], at least 8 x 8.

    Raises:
        ImageError: Any trouble with this file; one line that names the file and the reason.
    """
    return decode_file(path, lambda image: decode_picture(image, max_pixels), formats=FORMATS)


def read_source(path: Path, *, max_pixels: int = MAX_PIXELS) -> SourcePicture:
    """Read a picture as `read_image` does, and what its file says of its colours.

    Raises:
        ImageError: Any trouble with this file; one line that names the file and the reason.
    """
    return decode_file(path, lambda image: decode_source(image, max_pixels), formats=FORMATS)


def read_size(path: Path) -> tuple[int, int]:
    """Height and width that a picture's header tells, before it is turned upright.

    Raises:
        ImageError: Any trouble with this file; one line that names the file and the reason.
    """
    return decode_file(path, lambda image: (image.height, image.width), formats=FORMATS)


def read_mask(path: Path, *, max_pixels: int = MAX_PIXELS) -> Mask:
    """Read a label mask: palette indices or grey values as they are.

    Args:
        path: A PNG or TIFF file with one 8-bit or 16-bit channel or a palette.
        max_pixels: Masks with more pixels are refused before they are decoded.

    Returns:
        int32 [H, W].

    Raises:
        MaskError: The file cannot be read or holds colours instead of labels.
    """
    try:
        return decode_file(path, lambda image: decode_mask(image, max_pixels), formats=MASK_FORMATS)
    except ImageError as exc:
        raise EngineMaskError(str(exc)) from exc


# ---------------------------------------------------------------------------------------------
# Sizes.


def fit_pixels(pixels: Pixels, resolution: int, *, fit: Fit = "stretch") -> Pixels:
    """Bring a picture to the generator's square.

    Args:
        pixels: uint8 [H, W, 3].
        resolution: Side of the square in pixels.
        fit: "stretch" scales both sides on their own, "crop" takes the middle square (see
            `crop_box`), "pad" adds black bars.

    Returns:
        uint8 [resolution, resolution, 3]; a copy of `pixels` where the size is right already.

    Raises:
        ShapeError: `pixels` has another shape or dtype.
        SettingsError: `fit` is unknown.
    """
    _check_pixels(pixels)
    height, width = pixels.shape[:2]
    if (height, width) == (resolution, resolution):
        return pixels.copy()
    if fit == "crop":
        top, left, bottom, right = crop_box(height, width)
        return _resize(pixels[top:bottom, left:right], resolution, resolution)
    if fit == "pad":
        top, left, bottom, right = pad_box(height, width, resolution)
        padded = np.zeros((resolution, resolution, 3), dtype=np.uint8)
        padded[top:bottom, left:right] = _resize(pixels, bottom - top, right - left)
        return padded
    if fit != "stretch":
        raise EngineSettingsError(f"fit: expected stretch, crop or pad, got {fit!r}")
    return _resize(pixels, resolution, resolution)


def crop_box(height: int, width: int) -> tuple[int, int, int, int]:
    """The middle square of a picture: (top, left, bottom, right).

    Example:
        >>> crop_box(60, 100)
        (0, 20, 60, 80)
    """
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return top, left, top + side, left + side


def pad_box(height: int, width: int, resolution: int) -> tuple[int, int, int, int]:
    """Where a padded picture lies in the generator's square: (top, left, bottom, right).

    Example:
        >>> pad_box(50, 100, 64)
        (16, 0, 48, 64)
    """
    scale = resolution / max(height, width)
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    top, left = (resolution - rows) // 2, (resolution - columns) // 2
    return top, left, top + rows, left + columns


def resize_mask(mask: npt.NDArray[np.integer[Any]], resolution: int) -> Mask:
    """Bring a mask [H, W] to int32 [resolution, resolution] by choosing the nearest label.

    Raises:
        ShapeError: `mask` has another shape or no integers.
    """
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer) or 0 in mask.shape:
        raise ShapeError(f"mask: expected integers [H, W], got {mask.dtype} {list(mask.shape)}")
    # The source pixel that holds the centre of each target pixel.
    rows, columns = (
        ((2 * np.arange(resolution) + 1) * side) // (2 * resolution) for side in mask.shape
    )
    resized: Mask = mask[rows][:, columns].astype(np.int32)
    return resized


def _resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize with a filter that neither aliases nor blurs."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.array(picture.resize((width, height), Image.Resampling.LANCZOS))


# ---------------------------------------------------------------------------------------------
# Pixels <-> images.


def to_images(pixels: Sequence[Pixels]) -> Tensor:
    """Stack pictures of one size into images.

    Args:
        pixels: uint8 [H, W, 3] each.

    Returns:
        float32 [N, 3, H, W] in [-1, 1].

    Raises:
        ShapeError: No picture, or pictures of different sizes or another dtype.

    Example:
        >>> to_images([np.full((8, 8, 3), 255, np.uint8)]).unique().tolist()
        [1.0]
    """
    if not len(pixels):
        raise ShapeError("pixels: expected at least one picture, got none")
    for one in pixels:
        _check_pixels(one)
        if one.shape != pixels[0].shape:
            raise ShapeError(f"pixels: expected {pixels[0].shape} throughout, got {one.shape}")
    stacked = torch.from_numpy(np.stack(list(pixels)))
    return stacked.permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)


def to_pixels(images: Tensor) -> Pixels:
    """Round images to 8 bits; exact inverse of `to_images`.

    Args:
        images: [N, 3, H, W]; values outside [-1, 1] are clipped.

    Returns:
        uint8 [N, H, W, 3].

    Raises:
        ShapeError: `images` has another shape or dtype.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ShapeError(
            f"images: expected floating [N, 3, H, W], got {images.dtype} {list(images.shape)}"
        )
    scaled = images.detach().float().add(1).mul_(127.5).round_().clamp_(0, 255)
    pixels: Pixels = scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels


def _check_pixels(pixels: Pixels) -> None:
    """Check that a picture is uint8 [H, W, 3]."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ShapeError(
            f"pixels: expected uint8 [H, W, 3], got {pixels.dtype} {list(pixels.shape)}"
        )


# ---------------------------------------------------------------------------------------------
# Pixels -> files.


def encode_png(pixels: Pixels, *, compress_level: int = 1) -> bytes:
    """The bytes of a picture uint8 [H, W, 3]; see `write_png`."""
    _check_pixels(pixels)
    return _encode(Image.fromarray(np.ascontiguousarray(pixels)), compress_level=compress_level)


def write_png(path: Path, pixels: Pixels, *, compress_level: int = 1) -> None:
    """Write a picture, whole or not at all.

    Args:
        path: Where to; an existing file is replaced. The folder exists.
        pixels: uint8 [H, W, 3].
        compress_level: 0 (none) to 9; 1 is nearly as small as 6 and takes much less time.

    Raises:
        ShapeError: `pixels` has another shape or dtype.
        OSError: The file cannot be written.
    """
    write_whole(path, encode_png(pixels, compress_level=compress_level))


def write_mask(
    path: Path,
    mask: npt.NDArray[np.integer[Any]],
    *,
    colors: Sequence[tuple[int, int, int]],
    compress_level: int = 6,
) -> None:
    """Write a mask as an index PNG, whole or not at all.

    Args:
        path: Where to; an existing file is replaced. The folder exists.
        mask: Label indices [H, W].
        colors: The label scheme's colours. Up to 256 of them become the palette, so that the file
            holds indices and shows colours; beyond that the file is 16-bit grey.
        compress_level: 0 (none) to 9.

    Raises:
        ShapeError: `mask` has another shape or no integers.
        MaskError: A label has no colour.
        OSError: The file cannot be written.
    """
    write_whole(path, encode_mask(mask, colors=colors, compress_level=compress_level))


def encode_mask(
    mask: npt.NDArray[np.integer[Any]],
    *,
    colors: Sequence[tuple[int, int, int]],
    compress_level: int = 6,
) -> bytes:
    """The bytes of an index PNG; see `write_mask`."""
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise ShapeError(f"mask: expected integers [H, W], got {mask.dtype} {list(mask.shape)}")
    if mask.size and not 0 <= int(mask.min()) <= int(mask.max()) < min(len(colors), 2**16):
        raise EngineMaskError(
            f"mask: expected labels 0 to {len(colors) - 1}, got {int(mask.min())} to "
            f"{int(mask.max())}"
        )
    if len(colors) > 256:
        image = Image.fromarray(mask.astype(np.uint16))
    else:
        image = Image.fromarray(mask.astype(np.uint8))
        image.putpalette([value for color in colors for value in color])
    return _encode(image, compress_level=compress_level)


def _encode(image: Image.Image, *, compress_level: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=compress_level)
    return stream.getvalue()
