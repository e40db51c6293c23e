"""Reading and writing pictures and masks: ordinary, odd, broken and hostile ones."""

import csv
import io
import os
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from editvec.engine.errors import ImageError
from editvec.engine.images.images import read_image, write_png
from tests.support.places import HOSTILE_IMAGES

Array = npt.NDArray[np.uint8]

needs_collection = pytest.mark.skipif(
    not (HOSTILE_IMAGES / "pillow.csv").exists(),
    reason=f"needs Pillow's hostile test images in {HOSTILE_IMAGES}",
)


def draw_pixels(height: int = 24, width: int = 32) -> Array:
    """A smooth picture without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 7, y * 9, (x * y) // 4], axis=2).clip(0, 255).astype(np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


# ---------------------------------------------------------------------------------------------
# Pillow's own collection.


# Files that decode, and that we refuse by rule.
REFUSED = {
    "python.ico": "not a picture in a format that is read",
    "10ct_32bit_128.tiff": "mode F",
    "jfif_unit_cm.jpg": "expected at least 8 x 8 pixels, got 1 x 1",
    "tRNS_null_1x1.png": "expected at least 8 x 8 pixels, got 1 x 1",
    "multiple_exif.jpg": "expected at least 8 x 8 pixels, got 1 x 1",
    "tiny.png": "expected at least 8 x 8 pixels, got 4 x 4",
    "orientation_rectangle.jpg": "expected at least 8 x 8 pixels, got 2 x 1",
    # Their pixels are whole, the file behind them is not.
    "broken_data_stream.png": "unrecognized data stream",
    "truncated_end_chunk.png": "Truncated File Read",
    "apng__chunk_no_fctl.png": "APNG contains frame sequence errors",
}


def collection() -> list[dict[str, str]]:
    if not (HOSTILE_IMAGES / "pillow.csv").exists():
        return []
    with (HOSTILE_IMAGES / "pillow.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@needs_collection
@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row["file"].replace("/", "__")) for row in collection()]
)
def test_every_file_of_the_collection_is_sane_pixels_or_one_reason(row: dict[str, str]) -> None:
    name = row["file"].replace("/", "__")
    path = HOSTILE_IMAGES / "pillow" / name
    decodes = row["result_with_pillow_13"].startswith("ok")

    if decodes and name not in REFUSED:
        pixels = read_image(path)

        size = tuple(int(side) for side in row["size"].split("x"))
        assert pixels.dtype == np.uint8
        assert sorted(pixels.shape[:2]) == sorted(size)
        assert pixels.shape[2] == 3
        assert pixels.std() > 0
    else:
        with pytest.raises(ImageError) as caught:
            read_image(path)

        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        assert len(message) < len(str(path)) + 200
        assert REFUSED.get(name, "") in message


@needs_collection
def test_oriented_photographs_of_the_collection_are_the_same_picture() -> None:
    pictures = [
        read_image(HOSTILE_IMAGES / "pillow" / f"hopper_orientation_{tag}.jpg")
        for tag in range(2, 9)
    ]

    for picture in pictures[1:]:
        difference = np.abs(picture.astype(int) - pictures[0].astype(int))
        assert difference.mean() < 6  # JPEG blocks lie differently; wrong turns differ by 50


# ---------------------------------------------------------------------------------------------
# Orientation.


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_picture(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    upright = draw_pixels()
    stored = _reference_store(upright, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    if suffix == "jpg":
        options = {"quality": 100, "subsampling": 0}
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(stored), exif=exif, **options)

    pixels = read_image(path)

    assert pixels.shape == upright.shape
    difference = np.abs(pixels.astype(int) - upright.astype(int))
    assert difference.max() <= (4 if suffix == "jpg" else 0)


def _reference_store(upright: Array, orientation: int) -> Array:
    """How a camera stores a picture, from the table of the EXIF standard: what row 0 and column 0
    of the stored picture are in the upright one."""
    stored = {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.transpose(1, 0, 2),  # left, top
        6: upright.transpose(1, 0, 2)[::-1],  # right, top
        7: upright.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
        8: upright.transpose(1, 0, 2)[:, ::-1],  # left, bottom
    }[orientation]
    return np.ascontiguousarray(stored)


def test_a_nonsense_orientation_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77

    pixels = read_image(save(tmp_path / "a.png", Image.fromarray(draw_pixels()), exif=exif))

    assert np.array_equal(pixels, draw_pixels())


# ---------------------------------------------------------------------------------------------
# Modes.


def test_rgb_png_comes_out_as_it_is(tmp_path: Path) -> None:
    pixels = read_image(save(tmp_path / "a.png", Image.fromarray(draw_pixels())))

    assert np.array_equal(pixels, draw_pixels())
    assert pixels.flags.writeable


def test_transparency_is_composited_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:4, :, 3], rgba[4, :, 3] = 255, 51
    grey = np.zeros((8, 8, 2), np.uint8)
    grey[:4, :, 1] = 255

    colour = read_image(save(tmp_path / "a.png", Image.fromarray(rgba)))
    plain = read_image(save(tmp_path / "b.png", Image.fromarray(grey)))

    assert colour[[0, 4, 5], 0].tolist() == [[200, 0, 0], [244, 204, 204], [255, 255, 255]]
    assert plain[[0, 5], 0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_palette_becomes_colours_and_its_transparent_index_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8), 16).reshape(8, 8))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])

    pixels = read_image(save(tmp_path / "a.png", image, transparency=2))

    assert pixels[[0, 2, 4, 6], 0].tolist() == [
        [10, 20, 30],
        [40, 50, 60],
        [255, 255, 255],
        [100, 110, 120],
    ]


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    samples = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    expected = np.round(samples / 257).astype(np.uint8)
    pnm = tmp_path / "c.pgm"
    pnm.write_bytes(b"P5 8 8 65535\n" + samples.astype(">u2").tobytes())

    for path in (
        save(tmp_path / "a.png", Image.fromarray(samples)),
        save(tmp_path / "b.tiff", Image.fromarray(samples)),
        pnm,
    ):
        pixels = read_image(path)
        assert np.array_equal(pixels, np.repeat(expected[..., None], 3, axis=2)), path.name


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    image = Image.fromarray((np.arange(64).reshape(8, 8) % 2 * 255).astype(np.uint8)).convert("1")

    pixels = read_image(save(tmp_path / "a.png", image))

    assert pixels[0, :4, 1].tolist() == [0, 255, 0, 255]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))

    pixels = read_image(save(tmp_path / "a.jpg", image, quality=95))

    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 6


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_an_animation_gives_its_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 12), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}

    path = save(
        tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options
    )

    assert read_image(path)[0, 0].tolist() == [255, 0, 0]


def test_samples_without_a_fixed_range_are_refused(tmp_path: Path) -> None:
    floating = save(tmp_path / "a.tiff", Image.fromarray(np.zeros((8, 8), np.float32)))
    integer = save(tmp_path / "b.tiff", Image.fromarray(np.zeros((8, 8), np.int32)))

    with pytest.raises(ImageError, match="floating-point samples"):
        read_image(floating)
    with pytest.raises(ImageError, match="32-bit samples"):
        read_image(integer)


# ---------------------------------------------------------------------------------------------
# Broken and hostile files.


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = save(tmp_path / f"a.{suffix}", Image.fromarray(noise)).read_bytes()
    half = tmp_path / f"half.{suffix}"
    half.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(ImageError, match=rf"half\.{suffix}: "):
        read_image(half)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"0")), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below Pillow's warning, between its warning and its error, and above its error."""
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_header(side, side))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was decoded"))

    with pytest.raises(ImageError, match=r"expected at most 67108864 pixels|bomb"):
        read_image(path)


def test_the_limit_of_pixels_is_a_setting(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(draw_pixels(24, 32)))

    assert read_image(path, max_pixels=24 * 32).shape == (24, 32, 3)
    with pytest.raises(ImageError, match="expected at most 767 pixels, got 32 x 24"):
        read_image(path, max_pixels=24 * 32 - 1)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"not a picture at all\n" * 9, "not a picture in a format that is read"),
        ("zeros.jpg", bytes(4096), "not a picture in a format that is read"),
        ("only-magic.png", b"\x89PNG\r\n\x1a\n", ""),
        ("script.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        ("postscript.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)

    with pytest.raises(ImageError) as caught:
        read_image(path)

    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    with path.open("wb") as file:
        Image.fromarray(draw_pixels()).save(file, format="PNG")

    assert np.array_equal(read_image(path), draw_pixels())


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 64), (64, 7)])
def test_a_tiny_picture_is_refused(tmp_path: Path, width: int, height: int) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (width, height)))

    with pytest.raises(ImageError, match=f"at least 8 x 8 pixels, got {width} x {height}"):
        read_image(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)

    for path, reason in (
        (tmp_path, "expected a file, got a folder"),
        (pipe, "expected a file, got a folder or a special file"),
        (tmp_path / "missing.png", "No such file or directory"),
        (tmp_path / "a.png" / "b.png", "No such file or directory"),
    ):
        with pytest.raises(ImageError, match=reason):
            read_image(path)


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines.png"
    path.write_bytes(b"x")

    with pytest.raises(ImageError) as caught:
        read_image(path)

    assert "\n" not in str(caught.value)
    assert "two\\nlines.png" in str(caught.value)


def test_a_name_that_is_not_utf8_can_be_printed(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.png"
    path.write_bytes(b"x")

    with pytest.raises(ImageError) as caught:
        read_image(path)

    assert "caf\\xe9.png" in str(caught.value).encode().decode()


def _warning_tiff() -> bytes:
    """A sound TIFF file with a tag that points far outside: Pillow warns and goes on."""
    stream = io.BytesIO()
    Image.fromarray(draw_pixels()).save(stream, format="TIFF")
    data = bytearray(stream.getvalue())
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = data[start + 2 : start + 2 + 12 * count]
    extra = struct.pack("<HHII", 65000, 2, 100, 0x00FFFFFF)
    table = struct.pack("<H", count + 1) + entries + extra + bytes(4)
    struct.pack_into("<I", data, 4, len(data))
    return bytes(data) + table


def test_warnings_of_the_decoders_stay_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    path.write_bytes(_warning_tiff())
    with pytest.warns(UserWarning, match="Truncated File Read"):
        Image.open(path).close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = read_image(path)

    assert np.array_equal(pixels, draw_pixels())


def test_reading_in_threads_leaves_no_trace_in_the_process(tmp_path: Path) -> None:
    good = save(tmp_path / "a.png", Image.fromarray(draw_pixels()))
    odd, bad = tmp_path / "b.tiff", tmp_path / "c.png"
    odd.write_bytes(_warning_tiff())
    bad.write_bytes(_png_header(10_000, 10_000))
    read_image(good)
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    barrier = threading.Barrier(4)

    def read_all(_: int) -> None:
        barrier.wait()
        for _repeat in range(10):
            assert np.array_equal(read_image(good), draw_pixels())
            assert np.array_equal(read_image(odd), draw_pixels())
            with pytest.raises(ImageError, match="expected at most"):
                read_image(bad)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read_all, range(4)))

    assert warnings.filters == filters
    assert limit == Image.MAX_IMAGE_PIXELS


# ---------------------------------------------------------------------------------------------
# Writing.


@pytest.mark.parametrize("compress_level", [0, 1, 9])
def test_written_pictures_read_back_equal(tmp_path: Path, compress_level: int) -> None:
    path = tmp_path / "a.png"

    write_png(path, draw_pixels(), compress_level=compress_level)

    assert np.array_equal(read_image(path), draw_pixels())
    plain = tmp_path.with_suffix(".plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    write_png(path, draw_pixels())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_png(path, draw_pixels() // 2)

    assert np.array_equal(read_image(path), draw_pixels())
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]


def test_readers_see_whole_files_while_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    light, dark = np.full((64, 64, 3), 250, np.uint8), np.full((64, 64, 3), 5, np.uint8)
    write_png(path, light)

    def replace() -> None:
        for turn in range(20):
            write_png(path, dark if turn % 2 else light)

    writer = threading.Thread(target=replace)
    writer.start()
    seen = {int(read_image(path).mean()) for _ in range(40)}
    writer.join()

    assert seen <= {5, 250}
