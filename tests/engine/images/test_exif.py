"""What EXIF says of colours: asked last, and never in the place of the pixels."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.engine.errors import ImageError
from editvec.engine.images.images import read_image, read_source
from tests.support.color_profiles import as_srgb, profile_of, srgb_encode
from tests.support.colored_pictures import OPTIONS, chunks, colors, decoded, gama, save


def exif_of(space: int | None = None, index: str | None = None) -> bytes:
    """EXIF data with ColorSpace and InteroperabilityIndex, written by hand (TIFF, big-endian)."""
    tags = [] if space is None else [struct.pack(">HHIHH", 0xA001, 3, 1, space, 0)]
    at = 26  # of the IFD of EXIF, behind the header and an IFD of one entry
    behind = at + 2 + 12 * (len(tags) + (index is not None)) + 4
    if index is not None:
        tags.append(struct.pack(">HHII", 0xA005, 4, 1, behind))
    first = struct.pack(">H", 1) + struct.pack(">HHII", 0x8769, 4, 1, at) + bytes(4)
    data = b"MM\0*" + struct.pack(">I", 8) + first
    data += struct.pack(">H", len(tags)) + b"".join(tags) + bytes(4)
    if index is not None:
        data += struct.pack(">HHHI", 1, 1, 2, 4) + index.encode().ljust(4, b"\0") + bytes(4)
    return b"Exif\0\0" + data


@pytest.mark.parametrize("suffix", sorted({"png", "jpg", "webp"} & OPTIONS.keys()))
@pytest.mark.parametrize(
    ("space", "index", "is_adobe"),
    [
        (65535, "R03", True),
        (None, "R03", True),
        (2, None, True),
        (1, "R98", False),
        (1, "R03", False),  # it contradicts itself: sRGB is what most pictures are
        (65535, "R98", False),
        (65535, None, False),
    ],
)
def test_adobe_rgb_in_exif_is_converted(
    tmp_path: Path, suffix: str, space: int | None, index: str | None, is_adobe: bool
) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(colors()), exif=exif_of(space, index))

    pixels, color = read_source(path)

    plain = decoded(path)
    wanted = as_srgb("adobe", plain) if is_adobe else plain
    assert np.abs(pixels - wanted).max() <= (2.5 if is_adobe else 0)
    assert color.conversion == ("Adobe RGB (1998) to sRGB" if is_adobe else "sRGB")
    assert (color.kept is not None) == is_adobe


@pytest.mark.parametrize(
    ("values", "profile"),
    [
        ({"cICP": bytes([1, 13, 0, 1])}, None),
        ({"sRGB": b"\0"}, None),
        ({"gAMA": gama(0.45455)}, None),
        ({}, "srgb"),
    ],
)
def test_exif_counts_last(tmp_path: Path, values: dict[str, bytes], profile: str | None) -> None:
    path = save(
        tmp_path / "a.png",
        Image.fromarray(colors()),
        pnginfo=chunks(**values),
        icc_profile=None if profile is None else profile_of(profile),
        exif=exif_of(65535, "R03"),
    )

    assert np.array_equal(read_image(path), colors())


def test_grey_samples_of_adobe_rgb_have_its_gamma(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = save(tmp_path / "a.png", Image.fromarray(ramp), exif=exif_of(65535, "R03"))

    pixels, color = read_source(path)

    light = (ramp[..., None] / 255) ** 2.19921875
    assert np.abs(pixels - srgb_encode(light)).max() <= 1
    assert color.conversion == "Adobe RGB (1998) to sRGB"


def test_broken_exif_says_nothing(tmp_path: Path) -> None:
    whole = exif_of(65535, "R03")
    for length in range(6, len(whole)):
        path = save(tmp_path / "a.jpg", Image.fromarray(colors()), exif=whole[:length])
        assert read_source(path)[1].conversion in ("sRGB", "Adobe RGB (1998) to sRGB")


def test_looking_for_exif_hides_no_broken_pixels(tmp_path: Path) -> None:
    # Pillow decodes a PNG when it looks for EXIF; what is wrong is told all the same
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (96, 144, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    start = data.index(b"IDAT") + 4
    data[start + 40 : start + 200] = bytes(160)
    path = tmp_path / "a.png"
    path.write_bytes(data)

    with pytest.raises(ImageError, match="cannot be decoded"):
        read_source(path)
