"""Pictures of all colours in every format, and what PNG files say of their colours."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

Array = npt.NDArray[np.uint8]

OPTIONS: dict[str, dict[str, object]] = {
    "png": {},
    "tiff": {},
    "webp": {"lossless": True, "exact": True},
    "jpg": {"quality": 100, "subsampling": 0},
    "avif": {"quality": 100, "subsampling": "4:4:4"},
}


def colors() -> Array:
    """Colours from all over the cube, in blocks."""
    steps = np.array([0, 32, 96, 160, 224, 255], np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=3).reshape(12, 18, 3)
    return cube.repeat(8, axis=0).repeat(8, axis=1)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **{**OPTIONS[path.suffix[1:]], **options})  # type: ignore[arg-type]
    return path


def chunks(**values: bytes) -> PngInfo:
    info = PngInfo()
    for name, data in values.items():
        info.add(name.encode(), data)
    return info


def gama(value: float) -> bytes:
    return struct.pack(">I", round(value * 100_000))


def decoded(path: Path) -> Array:
    """The samples as Pillow decodes them, without any conversion."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
