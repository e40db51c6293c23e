"""What the EXIF data of a picture file say of its pixels; broken data say nothing."""

import struct
import zlib

from PIL import ExifTags, Image

# What Pillow's decoders raise on hostile files, over its own collection of them and by its code.
DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_SRGB, _ADOBE_RGB = 1, 2  # of ColorSpace; 65535 is "none of the standard's", 2 is no standard's
_OPTION_FILE = "R03"  # of InteroperabilityIndex: colours of Adobe RGB (DCF 2.0)


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where there is none or none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODER_ERRORS:
        return 1  # the pixels are whole: a broken tag is no reason to refuse them


def says_adobe_rgb(image: Image.Image) -> bool:
    """Whether EXIF says that the samples are Adobe RGB (1998), as cameras do that can make them.

    They write the interoperability index R03, and a colour space that is not sRGB.
    """
    try:
        exif = image.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        index = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    except DECODER_ERRORS:
        return False
    text = index.decode("latin-1") if isinstance(index, bytes) else str(index)
    return space == _ADOBE_RGB or (text.strip("\0 ") == _OPTION_FILE and space != _SRGB)
