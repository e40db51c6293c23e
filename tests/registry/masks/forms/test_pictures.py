"""PNGs of values and colours: no bit is lost, and what can be understood in two ways is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.labels.files import parse_scheme
from editvec.registry.masks.export import encode_as
from editvec.registry.masks.png import decode_mask
from editvec.registry.masks.sources import read_any_mask
from tests.support.mask_drawings import COLORS, SCHEME, drawn_mask, write_png

PLAIN = parse_scheme("parts: [background, body, left, right]")
GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6


def _write_bits(path: Path, samples: npt.NDArray[Any], *, bits: int, channels: int) -> Path:
    """A PNG by hand, so that no library scales the samples [H, W] or [H, W, C]."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    if bits == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    else:
        spread = (rows[..., None] >> np.arange(bits)[::-1]) & 1
        lines = [np.packbits(row.astype(np.uint8).ravel()).tobytes() for row in spread]

    def chunk(kind: bytes, data: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + end

    header = struct.pack(">IIBBBBB", width, height, bits, channels, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line for line in lines))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    return path


def _as_rgb(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.repeat(values[..., None], 3, axis=2)


def _palette(path: Path, values: npt.NDArray[Any], colors: list[int]) -> Path:
    image = Image.fromarray(values.astype(np.uint8), "L")
    image.putpalette(colors)
    image.save(path)
    return path


# --- ids that are written as colours ---


@pytest.mark.parametrize("form", [None, "index"])
def test_ids_in_all_channels_are_ids(tmp_path: Path, form: str | None) -> None:
    rgb = write_png(tmp_path / "rgb.png", _as_rgb(drawn_mask().astype(np.uint8)))
    deep = _write_bits(tmp_path / "deep.png", _as_rgb(drawn_mask()), bits=16, channels=RGB)
    own = np.array([0, 1, 50, 60])[drawn_mask()]
    spelled = _write_bits(tmp_path / "own.png", _as_rgb(own), bits=16, channels=RGB)

    assert (read_any_mask(rgb, PLAIN, form=form) == drawn_mask()).all()
    assert (read_any_mask(deep, PLAIN, form=form) == drawn_mask()).all()
    assert (read_any_mask(spelled, SCHEME, form=form) == drawn_mask()).all()


def test_ids_of_16_bits_in_all_channels(tmp_path: Path) -> None:
    scheme = parse_scheme('{"0": "background", "300": "body", "40000": "left", "65535": "right"}')
    values = np.array([0, 300, 40000, 65535])[drawn_mask()]
    path = _write_bits(tmp_path / "a.png", _as_rgb(values), bits=16, channels=RGB)

    assert (read_any_mask(path, scheme) == drawn_mask()).all()


@pytest.mark.parametrize("factor", [256, 257])
def test_colours_of_16_bits_are_those_of_8(tmp_path: Path, factor: int) -> None:
    colors = COLORS.astype(np.int64)[drawn_mask()] * factor
    path = _write_bits(tmp_path / "rgb.png", colors, bits=16, channels=RGB)
    alpha = np.where(drawn_mask()[..., None] > 0, 65535, 0)
    clear = np.concatenate([np.where(alpha > 0, colors, 4711), alpha], axis=2)
    with_alpha = _write_bits(tmp_path / "rgba.png", clear, bits=16, channels=RGBA)

    assert (read_any_mask(path, SCHEME) == drawn_mask()).all()
    assert (read_any_mask(with_alpha, SCHEME) == drawn_mask()).all()


@pytest.mark.parametrize(
    ("pixel", "channels", "message"),
    [
        ([1, 0, 0], RGB, "if it holds ids, write them as a grey PNG"),
        ([255 << 8 | 3, 0, 0], RGB, "16 bits, those of the scheme 8; if it holds ids"),
        ([9, 9, 9], RGB, "value 9 at row 3, column 4 is none of the scheme"),
        ([255 << 8, 0, 0, 40000], RGBA, "row 3, column 4 is half transparent"),
        ([2, 65535], GREY_ALPHA, "16 bits and transparency"),
    ],
)
def test_16_bits_that_say_nothing_are_refused(
    tmp_path: Path, pixel: list[int], channels: int, message: str
) -> None:
    samples = np.zeros((8, 8, len(pixel)), np.int64)
    samples[..., 3:] = 65535
    samples[3, 4] = pixel
    path = _write_bits(tmp_path / "a.png", samples, bits=16, channels=channels)

    with pytest.raises(MaskError, match=message):
        read_any_mask(path, SCHEME)


def test_ids_spread_over_channels_are_refused_with_the_way(tmp_path: Path) -> None:
    pixels = np.zeros((12, 20, 3), np.uint8)
    pixels[..., 0] = drawn_mask()

    with pytest.raises(MaskError, match=r"colour #010000 .* if it holds ids, write them as a grey"):
        read_any_mask(write_png(tmp_path / "a.png", pixels), SCHEME)


def test_grey_that_is_value_and_colour_of_different_parts_is_refused(tmp_path: Path) -> None:
    scheme = parse_scheme(
        """
parts:
  - {name: sky, color: "#010101"}
  - {name: hill, color: "#000000"}
"""
    )
    path = write_png(tmp_path / "a.png", _as_rgb((drawn_mask() > 0).astype(np.uint8)))

    with pytest.raises(MaskError, match="row 0, column 0 is hill by its colour, and sky by its"):
        read_any_mask(path, scheme)
    assert (read_any_mask(path, scheme, form="index") == (drawn_mask() > 0)).all()
    assert (read_any_mask(path, scheme, form="colors") == (drawn_mask() == 0)).all()


def test_message_is_of_the_reading_that_understands_most(tmp_path: Path) -> None:
    scheme = parse_scheme(
        """
parts:
  - {name: sky, color: "#050505"}
  - {name: hill, color: "#c8c8c8"}
"""
    )
    values = np.full((4, 5), 5, np.uint8)  # sky by its colour, nothing as a value
    values[3, 2] = 1  # hill as a value, nothing as a colour

    with pytest.raises(MaskError, match="colour #010101 at row 3, column 2 is that of no part"):
        read_any_mask(write_png(tmp_path / "a.png", _as_rgb(values)), scheme)
    values[:, 1:] = 1
    with pytest.raises(MaskError, match=r"value 5 at row 0, column 0 is none of .*; 4 such pixels"):
        read_any_mask(write_png(tmp_path / "a.png", _as_rgb(values)), scheme)


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_of_grey_hold_ids_as_they_are(tmp_path: Path, bits: int) -> None:
    path = _write_bits(tmp_path / "a.png", drawn_mask(), bits=bits, channels=GREY)

    assert (read_any_mask(path, PLAIN) == drawn_mask()).all()


# --- palettes ---


def test_one_known_colour_that_contradicts_is_enough(tmp_path: Path) -> None:
    # values 0, 1, 2, 3 are background, body, eye_left (50 in files of its own), eye_right
    strange = _palette(tmp_path / "a.png", drawn_mask(), [9, 8, 7, 0, 0, 0, 6, 5, 4, 3, 2, 1])

    with pytest.raises(MaskError, match="value 1 means body, but its palette colours it like back"):
        read_any_mask(strange, PLAIN)
    read = read_any_mask(strange, PLAIN, form="index")
    assert (read == drawn_mask()).all()


def test_palette_that_nobody_chose_says_nothing(tmp_path: Path) -> None:
    ramp = [level for value in range(256) for level in (value, value, value)]
    scheme = parse_scheme(
        """
parts:
  - {name: sky, color: "#010101"}
  - {name: hill, color: "#000000"}
  - rock
  - moss
"""
    )

    for name, colors in (("ramp", ramp), ("flat", [0] * 12), ("foreign", [9, 9, 8] * 4)):
        path = _palette(tmp_path / f"{name}.png", drawn_mask(), colors)
        assert (read_any_mask(path, scheme) == drawn_mask()).all()


def test_palette_may_colour_both_sides_like_their_split(tmp_path: Path) -> None:
    values = np.array([0, 1, 50, 60])[drawn_mask()]
    colors = [0] * 768
    for value, color in ((1, (255, 0, 0)), (50, (255, 255, 0)), (60, (255, 255, 0))):
        colors[3 * value : 3 * value + 3] = color
    path = _palette(tmp_path / "a.png", values, colors)

    assert (read_any_mask(path, SCHEME) == drawn_mask()).all()


# --- one picture for each part ---


BODY = (drawn_mask() > 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("values", "colors"),
    [
        (BODY, [0, 0, 0, 255, 255, 255]),
        (1 - BODY, [255, 255, 255, 0, 0, 0]),
        (1 - BODY, [90, 20, 20, 0, 0, 0]),
        (BODY * 2, [0, 0, 0, 7, 7, 7, 255, 0, 0]),
    ],
)
def test_colours_of_a_palette_tell_the_part(
    tmp_path: Path, values: npt.NDArray[np.uint8], colors: list[int]
) -> None:
    _palette(tmp_path / "x_body.png", values, colors)

    assert (read_any_mask(tmp_path, SCHEME) == BODY).all()


@pytest.mark.parametrize("ink", [(0, 0, 0), (255, 0, 0)])
def test_part_on_transparent_ground(tmp_path: Path, ink: tuple[int, int, int]) -> None:
    pixels = np.zeros((12, 20, 4), np.uint8)
    pixels[BODY > 0] = (*ink, 255)
    write_png(tmp_path / "x_body.png", pixels)

    if any(ink):
        assert (read_any_mask(tmp_path, SCHEME) == BODY).all()
    else:  # nothing that is painted, or all of it
        with pytest.raises(MaskError, match="what is painted is as black as what is not"):
            read_any_mask(tmp_path, SCHEME)


@pytest.mark.parametrize(
    ("colors", "message"),
    [
        ([255, 255, 255, 255, 0, 0], "colour #ff0000 and colour #ffffff, neither of them black"),
        ([0, 255, 0, 0, 0, 255], "colour #0000ff and colour #00ff00, neither of them black"),
        ([0, 0, 0, 0, 0, 0], "what is painted is as black as what is not"),
    ],
)
def test_part_that_cannot_be_told_from_its_ground_is_refused(
    tmp_path: Path, colors: list[int], message: str
) -> None:
    _palette(tmp_path / "x_body.png", BODY, colors)

    with pytest.raises(MaskError, match=message):
        read_any_mask(tmp_path, SCHEME)


def test_part_that_is_everywhere_or_nowhere(tmp_path: Path) -> None:
    for name, level in (("body", 255), ("eye_left", 0)):
        write_png(tmp_path / f"x_{name}.png", np.full((12, 20), level, np.uint8))

    assert (read_any_mask(tmp_path, SCHEME) == 1).all()


# --- what the program writes ---


def _without_text(path: Path) -> Path:
    """The same picture as a program leaves it that drops texts."""
    with Image.open(path) as image:
        bare = image.copy()
    bare.info = {}
    bare.save(path.with_name(f"bare-{path.name}"))
    return path.with_name(f"bare-{path.name}")


@pytest.mark.parametrize("form", ["palette", "index", "colors"])
@pytest.mark.parametrize("values", [(0, 2, 1, 7), (0, 300, 1, 2), (3, 2, 1, 0), (0, 1, 2, 3)])
def test_files_carry_the_values_of_the_scheme(
    tmp_path: Path, form: str, values: tuple[int, int, int, int]
) -> None:
    names = ("background", "body", "left", "right")
    parts = [f"{{name: {name}, value: {value}}}" for name, value in zip(names, values, strict=True)]
    scheme = parse_scheme(f"parts: [{', '.join(parts)}]")
    path = tmp_path / "a.png"
    path.write_bytes(encode_as(drawn_mask(), scheme, form))

    bare = _without_text(path)

    assert (read_any_mask(path, scheme) == drawn_mask()).all()
    assert (read_any_mask(bare, scheme) == drawn_mask()).all()
    if form != "colors":
        with Image.open(bare) as image:
            assert (np.asarray(image) == np.array(values)[drawn_mask()]).all()
        # who does not know the values goes by the names in the file
        assert (read_any_mask(path, PLAIN) == drawn_mask()).all()


def test_file_that_names_a_part_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    scheme = parse_scheme("parts: [background, {name: wing, value: 7}, left, {name: a, value: 1}]")
    path = tmp_path / "a.png"
    path.write_bytes(encode_as(drawn_mask(), scheme, "index"))

    with pytest.raises(MaskError, match="value 7 at row 2, column 1 is none of the scheme"):
        read_any_mask(path, PLAIN)
    with pytest.raises(MaskError, match="values of a scheme"):
        decode_mask(path.read_bytes())
