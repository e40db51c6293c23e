"""Which colours the samples of a picture file mean, and how they become sRGB.

What a file says counts in this order: cICP, an ICC profile, sRGB, gAMA with cHRM (all but the
profile are chunks of PNG; AVIF says the same as cICP in its box `nclx`), Adobe RGB in EXIF. A file
that says nothing is sRGB, and its samples stay as they are; likewise where a profile is sRGB. What
is said but cannot be understood is refused: the colours would be guessed.
"""

import functools
import io
import struct
from dataclasses import dataclass
from typing import IO, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageCms, ImageFile

from editvec.engine.errors import ImageError
from editvec.engine.images.exif import says_adobe_rgb
from editvec.engine.images.primaries import SRGB_PRIMARIES, Chromaticities, make_profile

SRGB = "sRGB"

# A profile that moves no colour by more than this is sRGB: its tables are rounded a little.
_SAME_LEVELS = 2
# An encoder of sRGB writes 1 / 2.2, rounded somehow, where the chunk sRGB is not known.
_SRGB_GAMMA, _SAME_GAMMA = 0.45455, 0.0005
_SAME_CHROMATICITY = 0.0015
_GAMMAS = (0.01, 100.0)
_CICP_SRGB = (1, 13, 0, 1)
# Of nclx: primaries of BT.709 or none told; curve of BT.709, none told, BT.601 or sRGB. Encoders
# write those of video for pictures that are sRGB, and viewers show them as such.
_NCLX_PRIMARIES, _NCLX_CURVES = (1, 2), (1, 2, 6, 13)
_NCLX_NONE = (2, 2)
_GREY_MODES = ("1", "L", "LA", "I;16")
_ADOBE_RGB = "Adobe RGB (1998)"
_ADOBE_GAMMA = 256 / 563  # its samples are light to the power 2 + 51 / 256
_ADOBE_PRIMARIES = Chromaticities(0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_INPUT_CLASSES = ("scnr", "mntr", "prtr", "spac")
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_HOW_TO_GO_ON = "without it the picture would be read as sRGB"


@dataclass(frozen=True)
class SourceColor:
    """What the samples of a file mean.

    Attributes:
        name: Of the colours, for people: "sRGB", "Adobe RGB (1998)", "gamma 0.45".
        profile: ICC profile that makes sRGB of them; None where they are sRGB already.
        mode: Pillow's mode of the samples that the profile is for: "RGB", "L" or "CMYK".
        kept: Profile for a file of RGB samples that mean the same; None where there is none, and
            where sRGB was meant without one.
    """

    name: str
    profile: bytes | None = None
    mode: str = "RGB"
    kept: bytes | None = None

    @property
    def conversion(self) -> str:
        """What was done, in words: "sRGB", "Adobe RGB (1998) to sRGB"."""
        return self.name if self.profile is None else f"{self.name} to {SRGB}"


def load_colored(image: Image.Image) -> SourceColor:
    """Decode an opened picture, and tell what its samples mean.

    EXIF is asked last, and once the pixels are decoded: Pillow decodes them when it looks for EXIF,
    and what is wrong with them would be taken for EXIF that cannot be read.

    Raises:
        ImageError: The file says something that cannot be understood, or that is not supported.
    """
    told = _told(image)
    image.load()  # `verify` passes on a file that was cut in half
    if told is not None:
        return told
    if image.mode != "LAB" and says_adobe_rgb(image):
        return _described(_ADOBE_RGB, image, gamma=_ADOBE_GAMMA, primaries=_ADOBE_PRIMARIES)
    return SourceColor(SRGB)


def _told(image: Image.Image) -> SourceColor | None:
    """What a file says outside of EXIF; before its pixels are decoded. None for nothing.

    Raises:
        ImageError: The file says something that cannot be understood, or that is not supported.
    """
    file = image.fp if isinstance(image, ImageFile.ImageFile) else None
    if image.format == "PNG" and file is not None and (code := _png_cicp(file)) is not None:
        if code != bytes(_CICP_SRGB):
            said = "/".join(str(value) for value in code[:4])
            raise ImageError(f"expected sRGB colours (cICP 1/13/0/1), got cICP {said}")
        return SourceColor(SRGB)
    if "icc_profile" in image.info:
        return _profiled(image)
    if image.format == "AVIF" and file is not None and (nclx := _avif_nclx(file)) is not None:
        if nclx[0] not in _NCLX_PRIMARIES or nclx[1] not in _NCLX_CURVES:
            raise ImageError(f"expected sRGB colours (nclx 1/13), got nclx {nclx[0]}/{nclx[1]}")
        if nclx != _NCLX_NONE:
            return SourceColor(SRGB)
    if image.format == "PNG" and "srgb" in image.info:
        return SourceColor(SRGB)
    if image.format == "PNG" and not image.info.keys().isdisjoint(("gamma", "chromaticity")):
        return _measured(image)
    if image.mode == "CMYK":
        return SourceColor("CMYK without a profile")
    return None


def to_srgb(image: Image.Image, color: SourceColor) -> Image.Image:
    """A loaded picture without transparency in sRGB, mode RGB; the one given may be changed.

    Args:
        image: Of the mode of `color`, or of one that becomes it without a change of colours.
        color: What its samples mean; with a profile.

    Raises:
        ImageError: The profile is for grey samples, and these are coloured.
    """
    assert color.profile is not None
    understood = _understood(color.profile, color.mode)
    if color.mode == "L":
        return Image.fromarray(understood.greys[np.asarray(_grey(image, color.name))])
    samples = image if image.mode == color.mode else image.convert(color.mode)
    if samples.mode == "RGB":
        understood.transform.apply_in_place(samples)  # another copy would cost as much memory
        return samples
    return understood.transform.apply(samples)


def from_srgb(pixels: npt.NDArray[np.uint8], color: SourceColor) -> npt.NDArray[np.uint8]:
    """Colours in sRGB, uint8 [N, 3], as RGB samples of other colours.

    Raises:
        ImageError: Their profile does not lead back.
    """
    if color.profile is None:
        return pixels
    assert color.kept is not None
    transform = _way_back(color.kept)
    return np.asarray(transform.apply(Image.fromarray(pixels[None]))).reshape(-1, 3)


def _grey(image: Image.Image, name: str) -> Image.Image:
    """The samples of a grey picture, which may be held as RGB."""
    if image.mode not in ("1", "L"):
        red, *others = image.convert("RGB").split()
        if any(ImageChops.difference(red, other).getbbox() for other in others):
            raise ImageError(
                f"its colour profile {name!r} is for grey samples, the picture has colours; "
                f"{_HOW_TO_GO_ON}"
            )
        return red
    return image.convert("L")


# ---------------------------------------------------------------------------------------------
# ICC profiles.


@dataclass(frozen=True)
class _Understood:
    """A profile that was read.

    Attributes:
        transform: From its colours to sRGB.
        greys: What becomes of samples 0 to 255 where all of a pixel are equal, uint8 [256, 3];
            empty for CMYK.
        is_srgb: True where nothing changes that can be seen.
    """

    transform: ImageCms.ImageCmsTransform
    greys: npt.NDArray[np.uint8]
    is_srgb: bool


def _profiled(image: Image.Image) -> SourceColor:
    """The colours of a picture with an embedded profile."""
    data = image.info["icc_profile"]
    if not isinstance(data, bytes) or not data:  # None: Pillow found its pieces broken
        raise ImageError(f"its colour profile is broken; {_HOW_TO_GO_ON}")
    name, space = _read_profile(data)
    mode = _SPACES.get(space)
    has_mode = {
        "RGB": image.mode not in ("CMYK", "LAB"),  # grey is RGB with equal samples
        "L": image.mode not in ("CMYK", "LAB"),  # some formats hold grey as RGB: see `_grey`
        "CMYK": image.mode == "CMYK",
    }
    if mode is None or not has_mode[mode]:
        raise ImageError(
            f"its colour profile {name!r} is for {space!r} samples, the picture has {image.mode}; "
            f"{_HOW_TO_GO_ON}"
        )
    if _understood(data, mode).is_srgb:
        return SourceColor(SRGB, kept=data if mode == "RGB" else None)
    return SourceColor(name, data, mode, kept=data if mode == "RGB" else None)


@functools.lru_cache(maxsize=16)
def _read_profile(data: bytes) -> tuple[str, str]:
    """Name and colour space of a profile."""
    try:
        core = ImageCms.ImageCmsProfile(io.BytesIO(data)).profile
        said = core.profile_description or ""
        name = " ".join("".join(one if one.isprintable() else " " for one in said).split())[:80]
        kind = core.device_class
        space = core.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError) as exc:
        raise ImageError(f"its colour profile is broken; {_HOW_TO_GO_ON}") from exc
    if kind not in _INPUT_CLASSES:
        raise ImageError(f"its colour profile is of class {kind!r}, not of a picture's colours")
    return name or "unnamed profile", space


@functools.lru_cache(maxsize=16)
def _understood(data: bytes, mode: str) -> _Understood:
    """The transform of a profile; equal profiles share it, and threads may."""
    # LittleCMS takes a coarse table for grey samples, unless it is told to compute each of them.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        transform = ImageCms.buildTransform(profile, _srgb_profile(), mode, "RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError, ValueError) as exc:
        raise ImageError(f"its colour profile is broken; {_HOW_TO_GO_ON}") from exc
    if mode == "CMYK":
        return _Understood(transform, np.zeros((0, 3), np.uint8), is_srgb=False)
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    greys, is_same = _probe(transform, ramp if mode == "L" else ramp.repeat(3, axis=1))
    if mode == "RGB":
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), axis=3).reshape(-1, 3)
        is_same = is_same and _probe(transform, cube)[1]
    return _Understood(transform, greys, is_same)


def _probe(
    transform: ImageCms.ImageCmsTransform, samples: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint8], bool]:
    """What becomes of samples [N, 1] or [N, 3], and whether that is what they are already."""
    probe = samples if samples.shape[1] == 1 else samples[:, None]
    made = np.asarray(transform.apply(Image.fromarray(probe))).reshape(-1, 3)
    distance = np.abs(made.astype(np.int64) - samples).max()
    return made, bool(distance <= _SAME_LEVELS)


@functools.lru_cache(maxsize=16)
def _way_back(data: bytes) -> ImageCms.ImageCmsTransform:
    """The transform from sRGB to a profile."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        return ImageCms.buildTransform(_srgb_profile(), profile, "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as exc:
        raise ImageError(
            f"its colour profile {_read_profile(data)[0]!r} leads to sRGB and not back, and cannot "
            "be kept"
        ) from exc


def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


# ---------------------------------------------------------------------------------------------
# PNG and AVIF.


def _measured(image: Image.Image) -> SourceColor:
    """The colours that gAMA and cHRM tell; what only one of them tells is sRGB's in the other."""
    gamma, primaries = image.info.get("gamma") or None, None  # 0 is said to mean nothing
    if "chromaticity" in image.info and image.mode not in _GREY_MODES:
        primaries = Chromaticities(*cast(tuple[float, ...], image.info["chromaticity"]))
        distance = np.abs(np.subtract(primaries, SRGB_PRIMARIES)).max()
        primaries = None if distance <= _SAME_CHROMATICITY else primaries
    is_srgb_gamma = gamma is None or abs(gamma - _SRGB_GAMMA) <= _SAME_GAMMA
    if is_srgb_gamma and primaries is None:
        return SourceColor(SRGB)
    if gamma is not None and not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
        raise ImageError(
            f"gAMA: expected a gamma from {_GAMMAS[0]} to {_GAMMAS[1]:g}, got {gamma:g}"
        )
    words = [] if gamma is None else [f"gamma {gamma:g}"]
    words += [] if primaries is None else ["primaries of its own"]
    return _described(" and ".join(words), image, gamma=gamma, primaries=primaries)


def _described(
    name: str, image: Image.Image, *, gamma: float | None, primaries: Chromaticities | None
) -> SourceColor:
    """Colours without a profile, by a profile that is made of what is told."""
    kept = make_profile(name, gamma=gamma, primaries=primaries, is_grey=False)
    if image.mode not in _GREY_MODES:
        return SourceColor(name, kept, kept=kept)
    profile = make_profile(name, gamma=gamma, primaries=None, is_grey=True)
    return SourceColor(name, profile, "L", kept=kept)


def _png_cicp(file: IO[bytes]) -> bytes | None:
    """What a chunk cICP before the pixels holds; Pillow passes over it."""
    place = file.tell()
    try:
        file.seek(8)
        while len(header := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", header)
            if kind == b"cICP":
                return file.read(min(length, 5))
            if kind in (b"IDAT", b"IEND"):
                return None
            file.seek(length + 4, io.SEEK_CUR)
        return None
    finally:
        file.seek(place)


def _avif_nclx(file: IO[bytes]) -> tuple[int, int] | None:
    """Primaries and transfer curve that the item properties of an AVIF file tell."""
    place = file.tell()
    try:
        file.seek(0, io.SEEK_END)
        start, end = 0, file.tell()
        for wanted, extra in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0), (b"colr", 0)):
            found = _find_box(file, start, end, wanted)
            if found is None:
                return None
            start, end = found[0] + extra, found[1]
        file.seek(start)
        kind, *codes = struct.unpack(">4sHH", file.read(8).ljust(8, b"\0"))
        return (codes[0], codes[1]) if kind == b"nclx" else None
    finally:
        file.seek(place)


def _find_box(file: IO[bytes], start: int, end: int, wanted: bytes) -> tuple[int, int] | None:
    """Where the content of the first box of a kind begins and ends."""
    while start + 8 <= end:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        header = 8
        if size == 1:
            size, header = int.from_bytes(file.read(8)), 16
        stop = end if size == 0 else start + size
        if stop < start + header or stop > end:
            return None
        if kind == wanted:
            return start + header, stop
        start = stop
    return None
