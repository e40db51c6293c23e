"""Pictures that stay in their own colours: samples, edits and transparency."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from editvec.engine.errors import ImageError, ShapeError
from editvec.engine.images.images import read_source
from editvec.engine.images.own_colors import check_way_back, on_white, read_own_colors
from editvec.engine.images.primaries import Chromaticities, make_profile

GAMMA = 1 / 1.8
WIDE = make_profile(
    "wide",
    gamma=GAMMA,
    primaries=Chromaticities(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06),
    is_grey=False,
)
# CIE 1931: XYZ of linear light, from the chromaticities above, and of sRGB.
_WIDE_TO_XYZ = np.array(
    [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
)
_SRGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)


def _reference_wide(srgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    share = srgb / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    wide = light @ _SRGB_TO_XYZ.T @ np.linalg.inv(_WIDE_TO_XYZ).T
    return wide.clip(0, 1) ** GAMMA * 255


def noise(channels: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (24, 40, channels), dtype=np.uint8)


def edit(before: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    after = before.copy()
    after[4:9, 10:20] = np.random.default_rng(4).integers(0, 256, (5, 10, 3))
    return after


def test_only_what_changed_is_converted_back(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path, icc_profile=WIDE)
    before, color = read_source(path)
    after = edit(before)

    made = read_own_colors(path).edited(before, after)

    changed = (before != after).any(axis=2)
    assert changed.any()
    assert np.array_equal(made[~changed], noise()[~changed])
    assert np.abs(made[changed] - _reference_wide(after[changed])).max() <= 1.5
    assert color.kept == WIDE


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_gamma_is_kept_as_a_profile(tmp_path: Path, mode: str) -> None:
    path, again = tmp_path / "a.png", tmp_path / "b.png"
    info = PngInfo()
    info.add(b"gAMA", (100_000).to_bytes(4))
    image = Image.fromarray(noise()).convert(mode)
    image.save(path, pnginfo=info)
    before, color = read_source(path)
    after = edit(before)

    made = read_own_colors(path).edited(before, after)

    changed = (before != after).any(axis=2)
    assert np.array_equal(made[~changed], np.asarray(image.convert("RGB"))[~changed])
    share = after[changed] / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    assert np.abs(made[changed] - light * 255).max() <= 1
    Image.fromarray(made).save(again, icc_profile=color.kept)
    assert np.abs(read_source(again).pixels.astype(int) - after)[~changed].max() <= 1


def test_transparency_stays_and_the_edit_shows_in_front_of_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rgba = noise(4)
    rgba[..., 3] = np.where(np.arange(40) < 13, 255, np.where(np.arange(40) < 17, 128, 0))
    Image.fromarray(rgba).save(path)
    before = read_source(path).pixels
    after = before.copy()
    after[4:9, 10:20] = 190  # light enough to be made of 128 of 255 in front of white

    made = read_own_colors(path).edited(before, after)

    assert np.array_equal(made[..., 3], rgba[..., 3])
    untouched = np.ones((24, 40), bool)
    untouched[4:9, 10:17] = False
    assert np.array_equal(made[untouched], rgba[untouched])
    share = made[..., 3:] / 255
    shown = made[..., :3] * share + 255 * (1 - share)
    assert np.abs(shown - after)[4:9, 10:17].max() <= 1
    assert np.abs(on_white(made).astype(float) - shown).max() <= 1


def test_orientation_is_that_of_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path, icc_profile=WIDE, exif=exif)
    before = read_source(path).pixels

    made = read_own_colors(path).edited(before, before)

    assert np.array_equal(made, np.rot90(noise(), -1))


def test_what_has_no_way_back_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    grey = make_profile("grey", gamma=1.0, primaries=None, is_grey=True)
    Image.fromarray(noise()[..., 0]).save(path, icc_profile=grey)

    with pytest.raises(ImageError, match="'grey' is for grey samples, and cannot be kept"):
        check_way_back(read_source(path).color)


def test_an_edit_of_another_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    before = read_source(path).pixels

    with pytest.raises(ShapeError, match=r"after: expected \[24, 40, 3\], got \[23, 40, 3\]"):
        read_own_colors(path).edited(before, before[1:])
    with pytest.raises(ShapeError, match=r"samples: expected \[H, W, 4\], got \[24, 40, 3\]"):
        on_white(before)


@pytest.mark.parametrize("alpha", [1, 64, 128, 254])
def test_what_is_darker_than_can_be_seen_through_becomes_black(tmp_path: Path, alpha: int) -> None:
    """In front of white, a half transparent pixel cannot be darker than a grey."""
    path = tmp_path / "a.png"
    samples = noise(4)
    samples[..., 3] = alpha
    Image.fromarray(samples).save(path)
    before, _ = read_source(path)
    after = before.copy()
    after[3:5, 6:9] = (0, 255, 128)

    made = read_own_colors(path).edited(before, after)

    # by hand: c = w - (w - after) / share, cut to what a sample can be
    share = alpha / 255
    seen = np.array([0.0, 255.0, 128.0])
    expected = np.clip(255 - (255 - seen) / share, 0, 255).round()
    assert (made[3:5, 6:9, :3] == expected).all()
    assert (made[..., 3] == alpha).all()
    changed = (before != after).any(axis=2)
    assert (made[~changed] == samples[~changed]).all()
