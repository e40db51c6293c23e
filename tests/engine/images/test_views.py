"""Views of pictures, and changes that come back at a picture's own size."""

import numpy as np
import pytest
from PIL import Image

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.images.images import fit_pixels
from editvec.engine.images.views import (
    View,
    add_change,
    put_labels,
    see,
    see_labels,
    square_around,
    view_of,
    with_margin,
)


def random_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 190, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(40, 100), (100, 40), (64, 64), (16, 16), (33, 47)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_whole_picture_is_seen_as_it_is_fitted(size: tuple[int, int], fit: str) -> None:
    picture = random_picture(*size)

    seen = see(picture, view_of(*size, 16, fit=fit), 16)  # type: ignore[arg-type]

    assert (seen == fit_pixels(picture, 16, fit=fit)).all()  # type: ignore[arg-type]


def test_a_square_stays_in_the_picture() -> None:
    assert square_around((0, 90, 10, 100), 50, 100, margin=0.5) == (0, 80, 20, 100)
    assert square_around((20, 40, 30, 50), 50, 100, margin=0.0) == (20, 40, 30, 50)


def test_a_square_that_does_not_fit_covers_the_whole_side() -> None:
    top, left, bottom, right = square_around((0, 10, 40, 90), 50, 100)

    assert (bottom - top, right - left) == (80, 80)
    assert top <= 0
    assert bottom >= 50
    assert (left, right) == (10, 90)


def test_a_margin_ends_at_the_picture() -> None:
    assert with_margin((10, 0, 30, 40), 35, 100, margin=0.25) == (5, 0, 35, 50)


def test_what_lies_beyond_the_picture_is_mirrored() -> None:
    picture = random_picture(8, 16)

    seen = see(picture, view_of(8, 16, 12, box=(-2, 4, 10, 16)), 12)

    assert (seen[2:10] == picture[:, 4:]).all()
    assert (seen[:2] == picture[1::-1, 4:]).all()
    assert (seen[10:] == picture[:-3:-1, 4:]).all()


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 5),
        (0, 5, 5, 5),
        (8, 0, 12, 5),
        (0, 14, 5, 20),
        (-5, 0, 0, 5),
        (0, -5, 5, 0),
    ],
)
def test_a_box_that_shows_nothing_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(EngineSettingsError, match="box: expected to meet 8x14 pixels"):
        view_of(8, 14, 4, box=box)


@pytest.mark.parametrize("box", [(-5, 0, 1, 1), (7, 0, 12, 5), (0, -5, 5, 1), (0, 13, 5, 20)])
def test_a_box_that_shows_a_row_or_a_column_is_taken(box: tuple[int, int, int, int]) -> None:
    assert view_of(8, 14, 4, box=box, fit="stretch").box == box


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_labels_are_seen_where_their_pixels_are(fit: str) -> None:
    mask = np.zeros((40, 64), np.uint8)
    mask[10:30, 30:44] = 1
    picture = np.repeat(mask[:, :, None] * 255, 3, axis=2)
    view = view_of(40, 64, 32, fit=fit)  # type: ignore[arg-type]

    labels, pixels = see_labels(mask, view, 32), see(picture, view, 32)

    assert ((labels == 1) == (pixels[..., 0] > 127)).mean() > 0.97


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(70, 101), (600, 320), (20, 13)])
def test_every_pixel_outside_the_region_keeps_its_bits(size: tuple[int, int], fit: str) -> None:
    picture = random_picture(*size)
    view = view_of(*size, 16, fit=fit)  # type: ignore[arg-type]
    roi = np.zeros((16, 16), bool)
    roi[4:12, 5:13] = True
    change = np.random.default_rng(1).normal(size=(3, 16, 16)).astype(np.float32)
    region = np.zeros(size, np.uint8)
    put_labels(roi.astype(np.uint8), view, region)
    result = picture.copy()

    add_change(result, change, roi, view)

    assert (result[region == 0] == picture[region == 0]).all()
    assert (result[region == 1] != picture[region == 1]).mean() > 0.3


def test_the_change_is_added_and_detail_stays() -> None:
    picture = random_picture(64, 64)
    result = picture.copy()
    change = np.full((3, 16, 16), 40 / 127.5, np.float32)

    add_change(result, change, np.ones((16, 16), bool), view_of(64, 64, 16))

    assert (result == picture + 40).all()


def test_values_that_are_no_numbers_outside_the_region_do_no_harm() -> None:
    picture = random_picture(64, 64)
    result = picture.copy()
    roi = np.zeros((16, 16), bool)
    roi[4:8, 4:8] = True
    change = np.full((3, 16, 16), np.nan, np.float32)
    change[:, roi] = 0

    add_change(result, change, roi, view_of(64, 64, 16))

    assert (result == picture).all()


def steps_at_border(result: np.ndarray, picture: np.ndarray, region: np.ndarray) -> tuple[int, int]:
    """The largest step of the change across the region's border, and inside it."""
    change = np.abs(result.astype(int) - picture).max(axis=2)
    across, within = 0, 0
    for axis in (0, 1):
        steps = np.abs(np.diff(change, axis=axis))
        crosses = np.diff(region.astype(int), axis=axis) != 0
        across = max(across, int(steps[crosses].max(initial=0)))
        within = max(within, int(steps[~crosses].max(initial=0)))
    return across, within


def test_no_seam_shows_at_the_border_of_the_region() -> None:
    picture = np.full((512, 512, 3), 100, np.uint8)
    roi = np.zeros((32, 32), bool)
    roi[8:20, 6:25] = True
    view = view_of(512, 512, 32)
    region = np.zeros((512, 512), np.uint8)
    put_labels(roi.astype(np.uint8), view, region)
    result = picture.copy()

    add_change(result, np.full((3, 32, 32), 0.8, np.float32), roi, view)

    across, within = steps_at_border(result, picture, region)
    assert result.max() == 202  # the whole change inside
    assert across <= 1
    assert within <= 102 / 16 + 2  # a ramp of one of the generator's pixels, 16 of the picture's


def test_no_seam_shows_at_the_sides_of_a_view_inside_the_picture() -> None:
    picture = np.full((300, 400, 3), 100, np.uint8)
    result = picture.copy()
    view = view_of(300, 400, 32, box=(50, 100, 210, 260))

    add_change(result, np.full((3, 32, 32), 0.8, np.float32), np.ones((32, 32), bool), view)

    inside = np.zeros((300, 400), bool)
    inside[50:210, 100:260] = True
    assert (result[~inside] == 100).all()
    assert result[130, 180, 0] == 202
    assert max(steps_at_border(result, picture, inside)) <= 102 / 5 + 2


def test_a_change_reaches_the_sides_of_the_picture() -> None:
    result = np.full((300, 400, 3), 100, np.uint8)
    view = view_of(300, 400, 32, box=(-10, 0, 310, 320))

    add_change(result, np.full((3, 32, 32), 0.8, np.float32), np.ones((32, 32), bool), view)

    assert (result[:, 0] == 202).all()
    assert (result[0, :290] == 202).all()
    assert (result[299, :290] == 202).all()


@pytest.mark.parametrize("size", [(300, 400), (400, 300)])
@pytest.mark.parametrize("touching", ["top", "left", "bottom", "right", "none"])
def test_a_change_fades_at_each_side_that_is_none_of_the_picture(
    size: tuple[int, int], touching: str
) -> None:
    """Also where a side of the view is as far off as the other side of the picture is long."""
    (height, width), side = size, 160
    top = {"top": 0, "bottom": height - side}.get(touching, min(height, 300) - side - 1)
    left = {"left": 0, "right": width - side}.get(touching, min(width, 300) - side - 1)
    box = (top, left, top + side, left + side)
    result = np.full((*size, 3), 100, np.uint8)
    whole = np.ones((32, 32), bool)

    add_change(result, np.full((3, 32, 32), 0.8, np.float32), whole, view_of(*size, 32, box=box))

    middle = side // 2
    at_sides = {
        "top": result[top, left + middle, 0],
        "left": result[top + middle, left, 0],
        "bottom": result[top + side - 1, left + middle, 0],
        "right": result[top + middle, left + side - 1, 0],
    }
    assert result[top + middle, left + middle, 0] == 202
    assert at_sides == {name: 202 if name == touching else 100 for name in at_sides}


@pytest.mark.parametrize("size", [(300, 400), (400, 300)])
def test_a_view_that_ends_where_the_other_side_of_the_picture_does_fades_there(
    size: tuple[int, int],
) -> None:
    result = np.full((*size, 3), 100, np.uint8)
    box = (140, 140, 300, 300)  # one of the two is a side of the picture

    add_change(
        result,
        np.full((3, 32, 32), 0.8, np.float32),
        np.ones((32, 32), bool),
        view_of(*size, 32, box=box),
    )

    assert result[299, 220, 0] == (202 if size[0] == 300 else 100)
    assert result[220, 299, 0] == (202 if size[1] == 300 else 100)


def test_a_change_made_in_bands_is_that_made_at_once() -> None:
    size, view = (900, 700), view_of(900, 700, 32, fit="stretch")
    roi = np.zeros((32, 32), bool)
    roi[3:30, 4:28] = True
    change = np.random.default_rng(2).normal(0, 0.2, (3, 32, 32)).astype(np.float32)
    result = np.full((*size, 3), 128, np.uint8)

    add_change(result, change, roi, view, feather=0)

    weighted = np.where(roi, change[1] * 127.5, 0).astype(np.float32)
    whole = np.asarray(Image.fromarray(weighted).resize(size[::-1], Image.Resampling.BILINEAR))
    expected = np.rint(128 + whole).clip(0, 255)
    region = np.zeros(size, np.uint8)
    put_labels(roi.astype(np.uint8), view, region)
    assert np.abs(result[region == 1, 1] - expected[region == 1]).max() <= 1


def test_labels_go_into_the_view_only() -> None:
    mask = np.full((20, 30), 9, np.uint8)

    put_labels(np.arange(16).reshape(4, 4), View((-4, 10, 12, 26), (0, 0, 4, 4)), mask)

    assert (mask[:12, 10:26] == np.kron(np.arange(4, 16).reshape(3, 4), np.ones((4, 4)))).all()
    mask[:12, 10:26] = 9
    assert (mask == 9).all()


def test_wrong_arguments_are_refused_by_name() -> None:
    picture, change = random_picture(8, 8), np.zeros((3, 8, 8), np.float32)
    roi, view = np.zeros((8, 8), bool), view_of(8, 8, 8)

    with pytest.raises(ShapeError, match="picture: expected uint8"):
        add_change(picture[..., :2], change, roi, view)
    with pytest.raises(ShapeError, match="change: expected"):
        add_change(picture, change[:, :4], roi, view)
    with pytest.raises(EngineSettingsError, match="feather: expected 0 or more pixels, got -1"):
        add_change(picture, change, roi, view, feather=-1)
