"""Decoding of picture files that may be broken, hostile or merely odd.

Each file comes out as pixels with a defined meaning, or as one ImageError with the reason. Safe in
threads; no setting of Pillow is changed.
"""

import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from editvec.engine.errors import ImageError
from editvec.engine.images.color import SourceColor, load_colored, to_srgb
from editvec.engine.images.exif import DECODER_ERRORS, orientation_of

Decoded = TypeVar("Decoded")

# Formats for pictures. Pillow reads forty more; each of them is code that hostile bytes reach.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
MASK_FORMATS = ("PNG", "TIFF")

MIN_SIDE = 8
MAX_PIXELS = 64 * 2**20  # 8192 x 8192

_PILLOW_MODULES = r"PIL\."
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_file(
    path: Path, decode: Callable[[Image.Image], Decoded], *, formats: tuple[str, ...]
) -> Decoded:
    """Open a file and decode it.

    Args:
        path: The file.
        decode: What to do with the opened picture, `decode_picture` or `decode_mask`.
        formats: Formats to try, by Pillow's names; the file's suffix does not matter.

    Returns:
        What `decode` returns.

    Raises:
        ImageError: Any trouble with this file; one line that names the file and the reason.
    """
    name = os.fsencode(path).decode("utf-8", "backslashreplace").replace("\n", "\\n")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device might never end
            raise ImageError(f"{name}: expected a file, got a folder or a special file")
        if status.st_size == 0:
            raise ImageError(f"{name}: the file is empty")
        with path.open("rb") as file:
            return decode_stream(file, decode, formats=formats, name=name)
    except FileNotFoundError as exc:
        raise ImageError(f"{name}: No such file or directory") from exc
    except OSError as exc:
        raise ImageError(f"{name}: cannot be decoded: {_one_line(exc)}") from exc


def decode_stream(
    stream: IO[bytes],
    decode: Callable[[Image.Image], Decoded],
    *,
    formats: tuple[str, ...],
    name: str,
) -> Decoded:
    """Decode a picture that is open already, as `decode_file` does.

    Args:
        stream: Its bytes, seekable.
        decode: What to do with the opened picture.
        formats: Formats to try, by Pillow's names.
        name: What messages call it.

    Raises:
        ImageError: Any trouble with it; one line that gives the name and the reason.
    """
    _ignore_pillow_warnings()
    try:
        with Image.open(stream, formats=formats) as image:
            return decode(image)
    except UnidentifiedImageError as exc:
        accepted = ", ".join(formats)
        raise ImageError(f"{name}: not a picture in a format that is read ({accepted})") from exc
    except ImageError as exc:
        raise ImageError(f"{name}: {exc}") from exc
    except DECODER_ERRORS as exc:
        raise ImageError(f"{name}: cannot be decoded: {_one_line(exc)}") from exc


def decode_opened(image: Image.Image, *, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Read a picture that Pillow has opened or made, as `images.read_image` reads files.

    The given picture is not changed. Colours are told by what Pillow kept of the file: the cICP of
    a PNG file and the nclx of an AVIF file count only while the picture is not loaded.

    Returns:
        uint8 [H, W, 3], upright, in sRGB.

    Raises:
        ImageError: Any trouble with it, in one line.
    """
    _ignore_pillow_warnings()
    try:
        color = _load(image, max_pixels)
        own = image.copy()  # colours are converted in place
        own.format = image.format
        return np.array(_upright(_to_rgb(own, color), orientation_of(image)), dtype=np.uint8)
    except ImageError:
        raise
    except DECODER_ERRORS as exc:
        raise ImageError(f"cannot be decoded: {_one_line(exc)}") from exc


class SourcePicture(NamedTuple):
    """A picture as it was read.

    Attributes:
        pixels: sRGB, upright, uint8 [H, W, 3].
        color: What its file says of its colours.
    """

    pixels: npt.NDArray[np.uint8]
    color: SourceColor


def decode_picture(image: Image.Image, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Load the first frame: upright sRGB, uint8 [H, W, 3]; see `images.read_image`."""
    return decode_source(image, max_pixels).pixels


def decode_source(image: Image.Image, max_pixels: int) -> SourcePicture:
    """Load the first frame as `decode_picture` does, and tell what its colours were."""
    color = _load(image, max_pixels)
    orientation = orientation_of(image)
    picture = _upright(_to_rgb(image, color), orientation)
    return SourcePicture(np.array(picture, dtype=np.uint8), color)


def decode_samples(image: Image.Image, max_pixels: int) -> tuple[Image.Image, SourceColor]:
    """Load the first frame upright and without a conversion of its colours, and what they mean.

    The picture is of mode RGB, or RGBA if it is transparent.
    """
    color = _load(image, max_pixels)
    orientation = orientation_of(image)
    samples = _to_eight_bits(image)
    samples = samples.convert("RGBA" if samples.has_transparency_data else "RGB")
    return _upright(samples, orientation), color


def decode_mask(image: Image.Image, max_pixels: int) -> npt.NDArray[np.int32]:
    """Load a mask without any conversion of its values: int32 [H, W]."""
    _check_size(image, max_pixels)
    image.load()
    if image.mode not in ("P", "L") and not image.mode.startswith("I;16"):
        raise ImageError(
            f"expected label indices (palette, 8-bit or 16-bit grey), got mode {image.mode}"
        )
    if orientation_of(image) in _UPRIGHT:
        raise ImageError("expected a mask without EXIF orientation")
    return np.array(image).astype(np.int32)


def _load(image: Image.Image, max_pixels: int) -> SourceColor:
    """Decode all of a picture, and tell what its colours mean."""
    _check_size(image, max_pixels)
    if min(image.size) < MIN_SIDE:
        raise ImageError(
            f"expected at least {MIN_SIDE} x {MIN_SIDE} pixels, got {image.width} x {image.height}"
        )
    return load_colored(image)


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _check_size(image: Image.Image, max_pixels: int) -> None:
    """Refuse a bomb by its header, before any pixel is allocated."""
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"expected at most {max_pixels} pixels, got {image.width} x {image.height}"
        )


def _to_rgb(image: Image.Image, color: SourceColor) -> Image.Image:
    """Convert a loaded image of any mode to sRGB, then composite transparency on white."""
    image = _to_eight_bits(image)
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        if color.profile is not None:
            alpha = picture.getchannel("A")
            picture = to_srgb(picture.convert("RGB"), color)
            picture.putalpha(alpha)
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    if color.profile is not None:
        return to_srgb(image, color)
    return image if image.mode == "RGB" else image.convert("RGB")  # a copy costs as much memory


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey samples of 16 bits to 8 bits; Pillow's own conversion would clip them."""
    if image.mode == "F":
        raise ImageError("floating-point samples (mode F) have no fixed range")
    if not image.mode.startswith("I"):
        return image
    # A PNM file of 16 bits opens as mode I; a TIFF file in that mode has 32 bits.
    if image.mode == "I" and image.format == "TIFF":
        raise ImageError("32-bit samples (mode I) have no fixed range")
    samples = np.array(image).astype(np.int64)
    grey = Image.fromarray(((samples.clip(0, 65535) * 255 + 32767) // 65535).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha = Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8))
        return Image.merge("LA", (grey, alpha))
    return grey


def _ignore_pillow_warnings() -> None:
    """Keep Pillow's warnings about odd files out of the output.

    They come from a dozen places in its decoders, and where warnings are errors they would refuse
    good pictures. `warnings.catch_warnings` cannot scope this: it swaps the list of filters of the
    whole process, and two threads that leave it in the wrong order leave the wrong list behind.
    One filter that names Pillow's own modules, put in place where it is missing, is the same for
    all threads. What a warning about size would say is checked in `_check_size`.
    """
    first = warnings.filters[0] if warnings.filters else None
    if first is None or first[0] != "ignore" or getattr(first[3], "pattern", "") != _PILLOW_MODULES:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES)


def _one_line(error: BaseException) -> str:
    """The error's text on one line of bounded length."""
    reason = getattr(error, "strerror", None) or str(error)  # without errno and path
    text = " ".join(str(reason).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
