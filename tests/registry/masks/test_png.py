"""Index PNGs: every mode that holds labels, and none that hides them in colours."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.registry.entities.vectors import NewMaskPair
from editvec.registry.errors import MaskError
from editvec.registry.labels.label import Label
from editvec.registry.library.library import Library
from editvec.registry.masks import png
from editvec.registry.masks.pairs import PairFiles, read_mask_pair
from editvec.registry.masks.png import (
    check_labels,
    check_pair,
    check_size,
    decode_mask,
    encode_mask,
    read_mask,
    read_picture,
)
from tests.support.registry_fixtures import mask_pair

LABELS = [Label(place, f"part{place}", (place, 2 * place, 255 - place)) for place in range(5)]
MASK = np.array([[0, 1, 2], [3, 4, 0]], np.uint8)


def _png(image: Image.Image, fmt: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=fmt)
    return stream.getvalue()


def test_written_mask_is_an_index_png_with_the_schemes_colours() -> None:
    data = encode_mask(MASK, LABELS)

    image = Image.open(io.BytesIO(data))
    assert image.mode == "P"
    assert image.convert("RGB").getpixel((2, 0)) == (2, 4, 253)
    np.testing.assert_array_equal(decode_mask(data), MASK)


def test_scheme_of_more_than_256_labels_takes_16_bits() -> None:
    labels = [Label(place, f"part{place}", (0, 0, 0)) for place in range(1000)]
    mask = np.array([[0, 999], [256, 3]])

    data = encode_mask(mask, labels)

    assert Image.open(io.BytesIO(data)).mode == "I;16"
    np.testing.assert_array_equal(decode_mask(data), mask)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(MASK),
        Image.fromarray(MASK.astype(np.uint16)),
        Image.fromarray(MASK > 0).convert("1"),
    ],
    ids=["L", "I;16", "1"],
)
def test_grey_masks_are_read_as_indices(image: Image.Image) -> None:
    expected = MASK > 0 if image.mode == "1" else MASK

    np.testing.assert_array_equal(decode_mask(_png(image)), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_are_refused(mode: str) -> None:
    with pytest.raises(MaskError, match=f"got mode {mode}"):
        decode_mask(_png(Image.new(mode, (4, 4))))


def test_lossy_or_broken_files_are_refused(tmp_path: Path) -> None:
    whole = _png(Image.effect_noise((64, 64), 50))
    for name, data in {
        "jpeg": _png(Image.new("L", (8, 8)), "JPEG"),
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"no picture",
    }.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(data)
        with pytest.raises(MaskError, match=f"mask .*{name}.png: not a readable PNG"):
            read_mask(path)
    with pytest.raises(MaskError, match="No such file"):
        read_mask(tmp_path / "nowhere.png")


def test_unknown_label_is_named_with_its_pixel() -> None:
    mask = MASK.astype(np.int32)
    mask[1, 2] = 37

    with pytest.raises(MaskError, match=r"label 37 at row 1, column 2 .*\(0 to 4\); 1 such"):
        check_labels(mask, LABELS)
    with pytest.raises(MaskError, match="label 37"):
        encode_mask(mask, LABELS)


@pytest.mark.parametrize(
    ("label", "is_known"), [(-2, False), (-1, True), (0, True), (4, True), (5, False)]
)
def test_labels_end_with_the_scheme_on_both_sides(label: int, is_known: bool) -> None:
    mask = np.array([[0, label, label]])

    if is_known:
        check_labels(mask, LABELS)
    else:
        with pytest.raises(MaskError, match=rf"mask: label {label} at row 0, column 1 .*; 2 such"):
            check_labels(mask, LABELS)


@pytest.mark.parametrize("shape", [(4,), (2, 2, 1)])
def test_mask_of_other_axes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MaskError, match=r"expected shape \[H, W\], got"):
        encode_mask(np.zeros(shape, np.uint8), LABELS)


def test_scheme_of_256_labels_still_has_a_palette() -> None:
    labels = [Label(place, f"part{place}", (place, 0, 9)) for place in range(256)]

    image = Image.open(io.BytesIO(encode_mask(np.array([[0, 255]]), labels)))

    assert image.mode == "P"
    assert image.convert("RGB").getpixel((1, 0)) == (255, 0, 9)


def test_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(png, "MAX_PIXELS", 12)

    assert decode_mask(_png(Image.new("L", (4, 3)))).shape == (3, 4)
    with pytest.raises(MaskError, match="mask: 13 x 1 pixels are too many"):
        decode_mask(_png(Image.new("L", (13, 1))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    for size in ((5, 1), (9, 1)):  # a warning of Pillow, and its error
        with pytest.raises(MaskError, match=r"mask: too many pixels \("):
            decode_mask(_png(Image.new("L", size)))


def test_wrong_size_is_named_width_by_height() -> None:
    with pytest.raises(MaskError, match="mask after: expected 8 x 4 pixels, got 3 x 2"):
        check_size(MASK, 4, 8, of="mask after")


def test_pair_must_fit_together(sqlite_library: Library) -> None:
    model = sqlite_library.get_class()
    pair = mask_pair(model.labels)
    small = mask_pair(model.labels, size=8)
    check_pair(pair, model)

    unknown = _png(Image.new("L", (16, 16), len(model.labels)))
    for changed, message in (
        ({"mask_before_png": small.mask_after_png}, "mask before: expected 16 x 16 pixels, got 8"),
        ({"mask_before_png": unknown}, "mask before: label .* none of the"),
        ({"mask_after_png": unknown}, "mask after: label .* none of the"),
        ({"image_png": b"no picture"}, "image of the mask pair: not a readable PNG"),
    ):
        with pytest.raises(MaskError, match=message):
            check_pair(replace(pair, **changed), model)
    with pytest.raises(MaskError, match="mask after: expected 16 x 16 pixels, got 8 x 8"):
        check_pair(
            NewMaskPair(
                image_png=pair.image_png,
                mask_before_png=pair.mask_before_png,
                mask_after_png=small.mask_after_png,
            ),
            model,
        )


def test_pictures_become_png_upright(tmp_path: Path) -> None:
    plain = tmp_path / "a.png"
    plain.write_bytes(_png(Image.new("RGB", (4, 2))))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "b.jpg"
    Image.new("RGB", (4, 2)).save(turned, exif=exif)

    assert read_picture(plain) == plain.read_bytes()
    assert Image.open(io.BytesIO(read_picture(turned))).size == (2, 4)


def test_mask_pair_is_read_from_three_files(tmp_path: Path, sqlite_library: Library) -> None:
    model = sqlite_library.get_class()
    pair = mask_pair(model.labels)
    paths = [tmp_path / name for name in ("i.png", "b.png", "a.png")]
    for path, data in zip(
        paths, (pair.image_png, pair.mask_before_png, pair.mask_after_png), strict=True
    ):
        path.write_bytes(data)

    read = read_mask_pair(PairFiles(*paths), model.scheme)

    assert (read.image_png, read.mask_after_png) == (pair.image_png, pair.mask_after_png)
    assert read.source_ws is None


def test_mask_pair_may_be_of_colours(tmp_path: Path, sqlite_library: Library) -> None:
    model = sqlite_library.get_class()
    pair = mask_pair(model.labels)
    colors = np.array([label.color for label in model.labels], np.uint8)
    (tmp_path / "i.png").write_bytes(pair.image_png)
    for name, data in (("b", pair.mask_before_png), ("a", pair.mask_after_png)):
        Image.fromarray(colors[decode_mask(data)]).save(tmp_path / f"{name}.png")

    read = read_mask_pair(PairFiles(*(tmp_path / f"{name}.png" for name in "iba")), model.scheme)

    assert (read.mask_before_png, read.mask_after_png) == (
        pair.mask_before_png,
        pair.mask_after_png,
    )
