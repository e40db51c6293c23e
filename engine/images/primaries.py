"""ICC profiles made of a gamma and of the chromaticities of white and of the primaries.

After ICC.1:2010: a profile of version 4.3 with a matrix and parametric curves. Colours are adapted
to the profile's white, D50, by the method of Bradford, so that the picture's white becomes white.
"""

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.engine.errors import ImageError


class Chromaticities(NamedTuple):
    """CIE x and y, in the order of the chunk cHRM."""

    white_x: float
    white_y: float
    red_x: float
    red_y: float
    green_x: float
    green_y: float
    blue_x: float
    blue_y: float


Matrix = npt.NDArray[np.float64]

SRGB_PRIMARIES = Chromaticities(0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_LARGEST = 32767.0  # of s15Fixed16Number
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def make_profile(
    name: str, *, gamma: float | None, primaries: Chromaticities | None, is_grey: bool
) -> bytes:
    """An ICC profile of such colours.

    Args:
        name: What it calls itself.
        gamma: Samples are light to this power, as in the chunk gAMA; None = the curve of sRGB.
        primaries: None = those of sRGB. Of grey samples they are not used.
        is_grey: Make a profile for grey samples.

    Raises:
        ImageError: These chromaticities span no colours.
    """
    curve = _para(0, [1 / gamma]) if gamma is not None else _para(3, list(_SRGB_CURVE))
    adapted, adaptation = colorants(primaries or SRGB_PRIMARIES)
    tags = {b"desc": _text(name), b"cprt": _text("No copyright"), b"wtpt": _xyz(_D50)}
    if is_grey:
        tags[b"kTRC"] = curve
    else:
        tags[b"chad"] = b"sf32" + bytes(4) + _fixed(adaptation.ravel())
        for column, letter in enumerate((b"r", b"g", b"b")):
            tags[letter + b"XYZ"] = _xyz(adapted[:, column])
            tags[letter + b"TRC"] = curve
    return _assembled(b"GRAY" if is_grey else b"RGB ", tags)


def colorants(primaries: Chromaticities) -> tuple[Matrix, Matrix]:
    """XYZ of red, green and blue relative to D50, in columns; and what adapts white to D50.

    Raises:
        ImageError: These chromaticities span no colours.
    """
    points = np.array(primaries).reshape(4, 2)
    if not (points[:, 1] > 0).all():
        raise ImageError("cHRM: expected chromaticities with y above 0")
    xyz = np.stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)]) / points[:, 1]
    white = xyz[:, 0]
    cone = _BRADFORD @ white
    if abs(np.linalg.det(xyz[:, 1:])) < 1e-6 or (cone <= 0).any():
        raise ImageError("cHRM: expected three primaries that span colours around a white")
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / cone) @ _BRADFORD
    adapted = adaptation @ (xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], white))
    if np.abs(adapted).max() >= _LARGEST or np.abs(adaptation).max() >= _LARGEST:
        raise ImageError("cHRM: expected three primaries that span colours around a white")
    return adapted, adaptation


def _assembled(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Header, table of tags and their contents."""
    place, table, contents = 128 + 4 + 12 * len(tags), b"", b""
    for kind, content in tags.items():
        table += struct.pack(">4sII", kind, place + len(contents), len(content))
        contents += content + bytes(-len(content) % 4)
    size = place + len(contents)
    date = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x04300000, b"mntr", space, b"XYZ ")
    header += date + b"acsp" + bytes(28) + _fixed(_D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + contents


def _fixed(values: npt.ArrayLike) -> bytes:
    """As s15Fixed16Numbers."""
    return np.rint(np.asarray(values, np.float64) * 65536).astype(">i4").tobytes()


def _para(kind: int, values: list[float]) -> bytes:
    return b"para" + struct.pack(">IHH", 0, kind, 0) + _fixed(values)


def _xyz(values: Matrix) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III4sII", 0, 1, 12, b"enUS", len(encoded), 28) + encoded
