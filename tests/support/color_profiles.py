"""Colour spaces by their formulas, and ICC profiles written by hand, for tests of colours."""

import struct

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

# ---------------------------------------------------------------------------------------------
# Reference: formulas and matrices of IEC 61966-2-1, Adobe RGB (1998) and SMPTE EG 432-1, all
# relative to D65; and profiles of version 2 written by hand, relative to D50.

_XYZ_TO_SRGB = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)
_TO_XYZ = {
    "adobe": [
        [0.57667, 0.18556, 0.18823],
        [0.29734, 0.62736, 0.07529],
        [0.02703, 0.07069, 0.99134],
    ],
    "p3": [[0.48657, 0.26567, 0.19822], [0.22897, 0.69174, 0.07929], [0.0, 0.04511, 1.04394]],
    "linear": [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]],
}
COLORANTS = {  # of D50: red, green and blue
    "adobe": [
        (0.60974, 0.31111, 0.01947),
        (0.20528, 0.62567, 0.06087),
        (0.14919, 0.06322, 0.74457),
    ],
    "p3": [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)],
    "linear": [
        (0.43607, 0.22249, 0.01392),
        (0.38515, 0.71687, 0.09708),
        (0.14307, 0.06061, 0.7141),
    ],
}
COLORANTS["srgb"] = COLORANTS["linear"]


def srgb_encode(light: Floats) -> Floats:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255


def srgb_decode(levels: npt.ArrayLike) -> Floats:
    share = np.asarray(levels, np.float64) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def as_srgb(space: str, pixels: Array) -> Floats:
    """Samples [..., 3] of a space as sRGB, 0 to 255."""
    light = {
        "adobe": (pixels / 255) ** 2.19921875,
        "p3": srgb_decode(pixels),
        "linear": pixels / 255,
    }[space]
    return srgb_encode(light @ np.array(_TO_XYZ[space]).T @ _XYZ_TO_SRGB.T)


def fixed_point(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc_profile(
    space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", pcs: bytes = b"XYZ "
) -> bytes:
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, 10) + b"Hand made\0".ljust(88, b"\0"),
        b"wtpt": b"XYZ " + bytes(4) + fixed_point(0.9642, 1, 0.8249),
        **tags,
    }
    place, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"", 0x02400000, kind, space, pcs)
    head += (
        struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
        + b"acsp"
        + bytes(28)
        + fixed_point(0.9642, 1, 0.8249)
    )
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _curve(space: str) -> bytes:
    if space == "linear":
        return b"curv" + struct.pack(">II", 0, 0)
    if space == "adobe":
        return b"curv" + struct.pack(">IIH", 0, 1, round(2.19921875 * 256))
    table = np.rint(srgb_decode(np.linspace(0, 255, 1024)) * 65535).astype(">u2")
    return b"curv" + struct.pack(">II", 0, 1024) + table.tobytes()


def profile_of(space: str) -> bytes:
    tags = {}
    for letter, point in zip("rgb", COLORANTS[space], strict=True):
        tags[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + fixed_point(*point)
        tags[f"{letter}TRC".encode()] = _curve(space)
    return icc_profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    return icc_profile(b"GRAY", {b"kTRC": b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))})
