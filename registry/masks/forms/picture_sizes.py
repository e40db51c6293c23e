"""How large pictures are, by their headers only, and the pictures that lie beside other files."""

from __future__ import annotations

from pathlib import Path

from editvec.registry.errors import MaskError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")


def upright_size(path: Path, *, is_colored: bool = False) -> tuple[int, int]:
    """Height and width of a picture after its EXIF orientation.

    Args:
        path: the picture.
        is_colored: one channel is refused.

    Raises:
        MaskError: it cannot be read, or has one channel.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if is_colored and len(image.getbands()) == 1 and image.mode != "P":
                raise MaskError(
                    f"image {path}: one channel ({image.mode}); a generator sees colours: store it "
                    "as RGB if it is an image"
                )
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = image.size
    except MaskError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise MaskError(f"image {path}: not a readable picture ({str(exc)[:100]})") from exc
    return (width, height) if turned else (height, width)


def picture_called(folder: Path, stem: str) -> Path | None:
    """The picture of a name without suffix in a folder; None for none."""
    for suffix in PICTURES:
        for spelled in (suffix, suffix.upper()):
            if (path := folder / f"{stem}{spelled}").is_file():
                return path
    return None
