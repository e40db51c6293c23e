"""Colours of pictures that are not sRGB: judged by the formulas of their standards."""

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from editvec.engine.errors import ImageError
from editvec.engine.images.images import read_image, read_source
from tests.support.color_profiles import (
    COLORANTS,
    as_srgb,
    fixed_point,
    grey_profile,
    icc_profile,
    profile_of,
    srgb_decode,
    srgb_encode,
)
from tests.support.colored_pictures import OPTIONS, chunks, colors, decoded, gama, save

Array = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@pytest.mark.parametrize("suffix", sorted(OPTIONS))
@pytest.mark.parametrize("space", ["adobe", "p3", "linear"])
def test_an_embedded_profile_is_converted_as_its_standard_says(
    tmp_path: Path, space: str, suffix: str
) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(colors()), icc_profile=profile_of(space))

    pixels, color = read_source(path)

    wanted = as_srgb(space, decoded(path))
    assert np.abs(pixels - wanted).max() <= 2.5
    assert np.abs(wanted - decoded(path)).max() > 20
    assert color.conversion == "Hand made to sRGB"


@pytest.mark.parametrize("suffix", sorted(OPTIONS))
def test_srgb_profiles_leave_every_pixel_as_it_is(tmp_path: Path, suffix: str) -> None:
    builtin = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)

    for profile in (builtin, profile_of("srgb")):
        path = save(tmp_path / f"a.{suffix}", Image.fromarray(noise), icc_profile=profile)
        pixels, color = read_source(path)

        assert np.array_equal(pixels, decoded(path))
        assert color.conversion == "sRGB"


@pytest.mark.parametrize("suffix", sorted(OPTIONS))
def test_a_picture_that_says_nothing_is_srgb(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(colors()))

    pixels, color = read_source(path)

    assert np.array_equal(pixels, decoded(path))
    assert color.conversion == "sRGB"


# ---------------------------------------------------------------------------------------------
# What PNG says besides.


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_a_linear_png_is_encoded_as_srgb(tmp_path: Path, mode: str) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif mode == "P":
        image = Image.fromarray(ramp)
        image.putpalette([value for level in range(256) for value in (level, level, level)])
    else:
        image = Image.fromarray(ramp).convert(mode)
    path = save(tmp_path / "a.png", image, pnginfo=chunks(gAMA=gama(1)))

    pixels, color = read_source(path)

    assert np.abs(pixels - srgb_encode(ramp[..., None] / 255)).max() <= 1
    assert color.conversion == "gamma 1 to sRGB"


@pytest.mark.parametrize("gamma", [0.35, 0.5, 0.55556])
def test_a_gamma_is_a_power(tmp_path: Path, gamma: float) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(colors()), pnginfo=chunks(gAMA=gama(gamma)))

    wanted = srgb_encode((colors() / 255) ** (1 / gamma))

    assert np.abs(read_image(path) - wanted).max() <= 1.5


@pytest.mark.parametrize("gamma", [0, 0.4545, 0.45455, 0.455])
def test_the_gamma_that_writers_of_srgb_tell_changes_nothing(tmp_path: Path, gamma: float) -> None:
    srgb = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
    points = struct.pack(">8I", *(round(value * 100_000) for value in srgb))
    info = chunks(gAMA=gama(gamma), cHRM=points)
    path = save(tmp_path / "a.png", Image.fromarray(colors()), pnginfo=info)

    assert np.array_equal(read_image(path), colors())


def chrm(*values: float) -> bytes:
    return struct.pack(">8I", *(round(value * 100_000) for value in values))


ADOBE_POINTS = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)


def test_primaries_and_gamma_together_are_a_colour_space(tmp_path: Path) -> None:
    info = chunks(gAMA=gama(1 / 2.19921875), cHRM=chrm(*ADOBE_POINTS))
    path = save(tmp_path / "a.png", Image.fromarray(colors()), pnginfo=info)

    assert np.abs(read_image(path) - as_srgb("adobe", colors())).max() <= 2.5


def test_another_white_becomes_white(tmp_path: Path) -> None:
    points = (0.34567, 0.3585, *ADOBE_POINTS[2:])  # D50
    path = save(
        tmp_path / "a.png",
        Image.new("RGB", (8, 8), "white"),
        pnginfo=chunks(gAMA=gama(0.5), cHRM=chrm(*points)),
    )

    assert read_image(path).min() >= 254


@pytest.mark.parametrize(
    ("values", "profile", "is_converted"),
    [
        ({"sRGB": b"\0", "gAMA": gama(1)}, None, False),
        ({"cICP": bytes([1, 13, 0, 1]), "gAMA": gama(1)}, None, False),
        ({"cICP": bytes([1, 13, 0, 1])}, "adobe", False),
        ({"sRGB": b"\0", "gAMA": gama(0.45455)}, "adobe", True),
        ({"gAMA": gama(1)}, "adobe", True),
        ({"gAMA": gama(1)}, "srgb", False),
    ],
)
def test_what_a_png_says_counts_in_the_order_of_its_standard(
    tmp_path: Path, values: dict[str, bytes], profile: str | None, is_converted: bool
) -> None:
    path = save(
        tmp_path / "a.png",
        Image.fromarray(colors()),
        pnginfo=chunks(**values),
        icc_profile=None if profile is None else profile_of(profile),
    )

    wanted = as_srgb("adobe", colors()) if is_converted else colors()

    assert np.abs(read_image(path) - wanted).max() <= (2.5 if is_converted else 0)


@pytest.mark.parametrize("code", [(9, 16, 0, 1), (12, 13, 0, 1), (1, 8, 0, 1), (1, 13, 0, 0), (1,)])
def test_other_colours_by_cicp_are_refused_by_name(tmp_path: Path, code: tuple[int, ...]) -> None:
    path = save(
        tmp_path / "a.png",
        Image.fromarray(colors()),
        pnginfo=chunks(cICP=bytes(code)),
        icc_profile=profile_of("srgb"),
    )

    with pytest.raises(ImageError, match=f"got cICP {'/'.join(str(one) for one in code)}$"):
        read_image(path)


@pytest.mark.parametrize(
    "values",
    [
        {"gAMA": struct.pack(">I", 1)},
        {"gAMA": b"\xff\xff\xff\xff"},
        {"cHRM": chrm(0.3127, 0.329, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3)},
        {"cHRM": chrm(0.3127, 0.329, 0.64, 0, 0.3, 0.6, 0.15, 0.06)},
        {"cHRM": bytes(32), "gAMA": gama(1)},
    ],
)
def test_numbers_that_are_no_colours_are_refused(tmp_path: Path, values: dict[str, bytes]) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(colors()), pnginfo=chunks(**values))

    with pytest.raises(ImageError, match=r"a\.png: (gAMA|cHRM): expected"):
        read_image(path)


@pytest.mark.parametrize(
    ("codes", "is_read"), [((12, 16), False), ((9, 13), False), ((2, 2), True), ((1, 1), True)]
)
def test_other_colours_by_nclx_are_refused(
    tmp_path: Path, codes: tuple[int, int], is_read: bool
) -> None:
    path = save(tmp_path / "a.avif", Image.fromarray(colors()))
    data = path.read_bytes()
    assert data.count(b"colrnclx") == 1
    place = data.index(b"colrnclx") + 8
    path.write_bytes(data[:place] + struct.pack(">HH", *codes) + data[place + 4 :])

    if is_read:
        assert np.array_equal(read_image(path), decoded(path))
    else:
        with pytest.raises(ImageError, match=f"got nclx {codes[0]}/{codes[1]}$"):
            read_image(path)


# ---------------------------------------------------------------------------------------------
# Grey, ink and transparency.


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
def test_a_grey_profile_is_a_curve(tmp_path: Path, suffix: str) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    # WebP has no grey: there it is RGB with equal samples.
    image = Image.fromarray(ramp).convert("RGB" if suffix == "webp" else "L")
    path = save(tmp_path / f"a.{suffix}", image, icc_profile=grey_profile(1.75))

    wanted = srgb_encode((decoded(path) / 255) ** 1.75)

    assert np.abs(read_image(path) - wanted).max() <= 1
    assert np.abs(wanted - decoded(path)).max() > 15


def test_grey_samples_with_a_profile_of_colours_are_equal_samples(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = save(tmp_path / "a.png", Image.fromarray(ramp), icc_profile=profile_of("linear"))

    assert np.abs(read_image(path) - srgb_encode(ramp[..., None] / 255)).max() <= 1


def test_sixteen_bits_of_grey_and_alpha_take_a_grey_profile(tmp_path: Path) -> None:
    """Pillow opens this form as RGBA."""
    levels = np.arange(0, 256, 4, dtype=np.uint8)
    line = b"".join(bytes([level, level, 255, 255]) for level in levels)
    head = struct.pack(">IIBBBBB", 64, 8, 16, 4, 0, 0, 0)
    profile = b"grey\0\0" + zlib.compress(grey_profile(1.0))
    body = zlib.compress((b"\0" + line) * 8)
    path = tmp_path / "a.png"
    path.write_bytes(_png([(b"IHDR", head), (b"iCCP", profile), (b"IDAT", body), (b"IEND", b"")]))

    assert np.abs(read_image(path)[0] - srgb_encode(levels[:, None] / 255)).max() <= 1


def _png(parts: list[tuple[bytes, bytes]]) -> bytes:
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in parts:
        check = zlib.crc32(kind + content)
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
    return data


def test_colours_are_converted_before_they_are_laid_on_white(tmp_path: Path) -> None:
    rgba = np.dstack([colors(), np.full(colors().shape[:2], 102, np.uint8)])
    path = save(tmp_path / "a.png", Image.fromarray(rgba), icc_profile=profile_of("adobe"))

    wanted = 0.4 * as_srgb("adobe", colors()) + 0.6 * 255

    assert np.abs(read_image(path) - wanted).max() <= 2


def test_a_transparent_colour_is_found_before_colours_are_converted(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), (10, 200, 30))
    image.paste((200, 10, 30), (0, 0, 8, 4))
    path = save(tmp_path / "a.png", image, transparency=(10, 200, 30), icc_profile=profile_of("p3"))

    pixels = read_image(path)

    assert pixels[6, 3].tolist() == [255, 255, 255]
    assert np.abs(pixels[1, 3] - as_srgb("p3", np.array([200, 10, 30]))).max() <= 2


_INKS = {  # what the printer of this profile makes of cyan, magenta and yellow
    (0, 0, 0): (255, 255, 255), (1, 0, 0): (0, 158, 224), (0, 1, 0): (226, 0, 122),
    (0, 0, 1): (255, 237, 0), (1, 1, 0): (49, 39, 131), (0, 1, 1): (227, 6, 19),
    (1, 0, 1): (0, 150, 64), (1, 1, 1): (40, 36, 34),
}  # fmt: skip


def ink_profile() -> bytes:
    """A CMYK profile: a table of Lab at the corners (lut8Type); all of black is black."""
    nodes = []
    for cyan, magenta, yellow, black in np.ndindex(2, 2, 2, 2):
        color = (0, 0, 0) if black else _INKS[cyan, magenta, yellow]
        light, a, b = _lab(srgb_decode(color))
        nodes += [round(light * 2.55), round(a) + 128, round(b) + 128]
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed_point(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return icc_profile(
        b"CMYK", {b"A2B0": table + ramp * 4 + bytes(nodes) + ramp * 3}, kind=b"prtr", pcs=b"Lab "
    )


def _lab(light: Floats) -> Floats:
    """CIE Lab of linear sRGB, relative to D50."""
    xyz = np.array(COLORANTS["srgb"]).T @ light / np.array([0.9642, 1, 0.8249])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
@pytest.mark.parametrize("ink", sorted(_INKS))
def test_cmyk_goes_through_its_own_profile(
    tmp_path: Path, ink: tuple[int, int, int], suffix: str
) -> None:
    image = Image.new("CMYK", (16, 16), (*(255 * part for part in ink), 0))
    path = save(tmp_path / f"a.{suffix}", image, icc_profile=ink_profile())

    pixels, color = read_source(path)

    assert np.abs(pixels.astype(int) - _INKS[ink]).max() <= 6  # Lab in steps of 1
    assert color.conversion == "Hand made to sRGB"


def test_cmyk_without_a_profile_is_said_to_be_that(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)))

    pixels, color = read_source(path)

    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 6
    assert color.conversion == "CMYK without a profile"


# ---------------------------------------------------------------------------------------------
# Profiles that cannot be understood.


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
@pytest.mark.parametrize("length", [40, 200, 300])
def test_a_broken_profile_is_refused_by_name(tmp_path: Path, suffix: str, length: int) -> None:
    broken = profile_of("adobe")[:length].ljust(length + 50, b"\xff")
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(colors()), icc_profile=broken)

    with pytest.raises(ImageError, match=rf"a\.{suffix}: its colour profile is broken; without"):
        read_image(path)


def test_a_profile_whose_pieces_are_broken_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray(colors())
    png = save(tmp_path / "a.png", image, icc_profile=profile_of("adobe"))
    data = bytearray(png.read_bytes())
    start = data.index(b"iCCP")
    length = struct.unpack_from(">I", data, start - 4)[0]
    content = start + 4
    data[content + 20 : content + length] = bytes(length - 20)
    check = zlib.crc32(bytes(data[start : content + length]))
    struct.pack_into(">I", data, content + length, check)
    png.write_bytes(data)
    jpeg = save(tmp_path / "a.jpg", image, icc_profile=profile_of("adobe"))
    # The piece says that there are two of them.
    jpeg.write_bytes(jpeg.read_bytes().replace(b"ICC_PROFILE\0\x01\x01", b"ICC_PROFILE\0\x01\x02"))

    for path in (png, jpeg):
        with pytest.raises(ImageError, match="its colour profile is broken"):
            read_image(path)


def test_a_profile_for_other_samples_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray(colors())

    for profile, reason in (
        (ink_profile(), "is for 'CMYK' samples, the picture has RGB"),
        (grey_profile(2.2), "is for grey samples, the picture has colours"),
        (icc_profile(b"RGB ", {}, kind=b"link"), "is of class 'link'"),
    ):
        path = save(tmp_path / "a.png", image, icc_profile=profile)
        with pytest.raises(ImageError, match=reason):
            read_image(path)

    ink = save(tmp_path / "a.jpg", image.convert("CMYK"), icc_profile=profile_of("adobe"))
    with pytest.raises(ImageError, match="is for 'RGB' samples, the picture has CMYK"):
        read_image(ink)


def test_a_profile_for_unheard_of_samples_is_refused_in_one_line(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.png", Image.fromarray(colors()), icc_profile=icc_profile(b"R\nB ", {})
    )

    with pytest.raises(ImageError) as caught:
        read_image(path)

    assert "colour profile" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_threads_share_a_profile(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(colors()), icc_profile=profile_of("adobe"))
    wanted = read_image(path)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: read_image(path), range(40)))

    assert all(np.array_equal(one, wanted) for one in results)
