"""Pages from templates: every page is one file that refers to nothing outside it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from editvec.batch.reports.contact_sheet import number_text, scale_text
from editvec.registry.drawing import printable

_ROOMS = Path(__file__).parents[1]
_PHOTO_QUALITY = 84
_LARGEST_SIDE = 256


class Picture(NamedTuple):
    """A picture as data within a page; `data` is empty for one that is missing."""

    role: str
    alt: str
    data: str
    width: int
    height: int


class Figure(NamedTuple):
    """Pictures side by side with their name, and where that comes from, above some lines."""

    name: str
    title: str
    pictures: Sequence[Picture]
    lines: Sequence[str]


def render(template: str, **values: Any) -> str:
    """Fills a template; whatever is put into it is escaped.

    Args:
        template: its path below `batch/`.
        values: by the names that the template has for them.
    """
    return _ENVIRONMENT.get_template(template).render(values)


def photograph(image: Image.Image | None, role: str, alt: str) -> Picture:
    """A picture that may lose a little."""
    return _picture(image, role, alt, "webp", quality=_PHOTO_QUALITY, method=4)


def exact_picture(image: Image.Image | None, role: str, alt: str) -> Picture:
    """A picture of few colours, which stay what they are."""
    return _picture(image and image.quantize(256), role, alt, "png", optimize=True)


def small(
    pixels: npt.NDArray[np.uint8], sampling: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Pixels, uint8 [H, W, 3], as a picture that is no larger than a page shows it."""
    image = Image.fromarray(pixels)
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), sampling)
    return image


def _picture(image: Image.Image | None, role: str, alt: str, kind: str, **options: Any) -> Picture:
    if image is None:
        return Picture(role, alt, "", 0, 0)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    data = f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
    return Picture(role, alt, data, image.width, image.height)


def _shown(value: Any) -> Any:
    """What is no markup, as text on one line that steers nothing."""
    return value if hasattr(value, "__html__") else printable(str(value))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_ROOMS),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_ENVIRONMENT.filters |= {
    "commas": "{:,}".format,
    "g": "{:g}".format,
    "json": partial(json.dumps, ensure_ascii=False, default=str),
    "number": number_text,
    "scale": scale_text,
    "shown": _shown,
}
