"""Tests of the avatar renderer."""

import numpy as np
import numpy.typing as npt
import pytest

from editvec.avatars.drawing.parameters import (
    PARAMETER_NAMES,
    PARAMETERS,
    from_unit,
    sample,
    to_unit,
    with_values,
)
from editvec.avatars.drawing.render import (
    DEFAULT_STYLE,
    LABEL_COLORS,
    LABELS,
    SHIFTED_STYLE,
    Style,
    palette_image,
    render,
)

Mask = npt.NDArray[np.uint8]


def _middle(**values: float) -> npt.NDArray[np.float64]:
    """A face with every parameter in the middle of its range, except for some."""
    return with_values(from_unit(np.zeros((1, len(PARAMETERS)))), **values)


def _area(mask: Mask, *names: str) -> int:
    return int(np.isin(mask, [LABELS.index(name) for name in names]).sum())


def _center(mask: Mask, name: str) -> tuple[float, float]:
    """Mean x and y of a label's pixels."""
    rows, columns = np.nonzero(mask[0] == LABELS.index(name))
    return float(columns.mean()), float(rows.mean())


def test_shapes_types_and_label_order() -> None:
    rendered = render(sample(3, seed=0), 48)
    assert rendered.pixels.shape == (3, 48, 48, 3)
    assert rendered.pixels.dtype == np.uint8
    assert rendered.mask.shape == (3, 48, 48)
    assert rendered.mask.dtype == np.uint8
    assert " ".join(LABELS) == "background clothes skin ear hair brow eye iris nose mouth teeth"
    assert len({tuple(color) for color in LABEL_COLORS}) == len(LABELS)


def test_no_pictures_give_empty_arrays() -> None:
    rendered = render(np.zeros((0, len(PARAMETERS))), 16)
    assert rendered.pixels.shape == (0, 16, 16, 3)
    assert rendered.mask.shape == (0, 16, 16)


def test_every_label_occurs_at_the_resolution_of_the_class() -> None:
    mask = render(sample(100, seed=1), 64).mask
    present = np.array([(mask == label).any((1, 2)).mean() for label in range(len(LABELS))])
    always = ("background", "clothes", "skin", "ear", "hair", "brow", "eye", "nose", "mouth")
    assert (present[[LABELS.index(name) for name in always]] > 0.97).all()
    assert present[LABELS.index("iris")] > 0.7
    assert present[LABELS.index("teeth")] > 0.4


@pytest.mark.parametrize("resolution", [64, 128])
@pytest.mark.parametrize("mouth_opening", [0.0, 0.5])
def test_smile_bends_the_corners_up_and_frown_down(resolution: int, mouth_opening: float) -> None:
    def corners_over_middle(smile: float) -> float:
        mask = render(_middle(smile=smile, mouth_opening=mouth_opening), resolution).mask[0]
        rows, columns = np.nonzero(
            (mask == LABELS.index("mouth")) | (mask == LABELS.index("teeth"))
        )
        left, right = columns.min(), columns.max()
        outer = np.abs(columns - (left + right) / 2) > 0.4 * (right - left)
        inner = np.abs(columns - (left + right) / 2) < 0.1 * (right - left)
        return float(rows[inner].mean() - rows[outer].mean()) * 64 / resolution

    assert corners_over_middle(1.0) > 2.5
    assert corners_over_middle(-1.0) < -1.5
    assert corners_over_middle(1.0) > corners_over_middle(0.0) > corners_over_middle(-1.0)


def test_smile_and_frown_share_little_of_their_mouth_masks() -> None:
    masks = render(
        np.concatenate([_middle(smile=s, mouth_opening=0.1) for s in (-1, 0, 1)]), 64
    ).mask
    frown, neutral, smile = (masks == LABELS.index("mouth")) | (masks == LABELS.index("teeth"))

    def overlap(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
        return float((first & second).sum() / (first | second).sum())

    assert overlap(frown, smile) < 0.4
    assert overlap(frown, neutral) < 0.7
    assert overlap(neutral, smile) < 0.7


def test_each_control_moves_its_part() -> None:
    def mask(**values: float) -> Mask:
        return render(_middle(**values), 128).mask

    assert _center(mask(gaze_x=1.0), "iris")[0] > _center(mask(gaze_x=-1.0), "iris")[0] + 3
    assert _center(mask(gaze_y=1.0), "iris")[1] > _center(mask(gaze_y=-1.0), "iris")[1] + 2
    assert (
        _center(mask(brow_height=1.0), "brow")[1] < _center(mask(brow_height=-1.0), "brow")[1] - 6
    )
    assert _center(mask(head_x=0.08), "nose")[0] > _center(mask(head_x=-0.08), "nose")[0] + 8
    assert _area(mask(eye_opening=0.0), "iris") == 0
    assert 0 < _area(mask(eye_opening=0.0), "eye") < 0.6 * _area(mask(eye_opening=1.0), "eye")
    assert _area(mask(mouth_opening=0.0, smile=1.0), "teeth") == 0
    assert _area(mask(mouth_opening=0.8, smile=1.0), "teeth") > 100
    assert _area(mask(hair_length=1.0), "hair") > 1.2 * _area(mask(hair_length=0.0), "hair")
    assert _area(mask(fringe=1.0), "hair") > _area(mask(fringe=0.0), "hair")
    assert _area(mask(nose_size=0.095), "nose") > 2 * _area(mask(nose_size=0.05), "nose")
    assert _area(mask(ear_size=0.17), "ear") > 1.5 * _area(mask(ear_size=0.1), "ear")


def test_nose_mask_is_the_ellipse_that_it_is_defined_as() -> None:
    params = _middle(tilt=0.1, mouth_opening=0.0)
    v = dict(zip(PARAMETER_NAMES, params[0], strict=True))
    expected = np.zeros((96, 96), bool)
    for row in range(96):
        for column in range(96):
            x = ((column + 0.5) / 48 - 1 - v["head_x"]) / v["head_size"]
            y = ((row + 0.5) / 48 - 1 - v["head_y"] + 0.045) / v["head_size"]
            u = np.cos(v["tilt"]) * x + np.sin(v["tilt"]) * y
            w = np.cos(v["tilt"]) * y - np.sin(v["tilt"]) * x - 0.185
            inside = (u / v["nose_size"]) ** 2 + (w / (0.75 * v["nose_size"])) ** 2 <= 1
            expected[row, column] = inside
    assert expected.sum() > 20
    assert np.array_equal(render(params, 96).mask[0] == LABELS.index("nose"), expected)


def test_masks_agree_between_resolutions() -> None:
    params = sample(30, seed=2)
    small, large = render(params, 64).mask, render(params, 128).mask
    # a 64 px pixel's centre is the corner of four 128 px pixels
    quarters = np.stack([large[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    assert (quarters == small).mean() > 0.95
    assert (quarters == small).any(0).mean() > 0.995
    # an odd factor keeps the centres: the mask samples one partition of the plane
    tripled = render(params, 192).mask[:, 1::3, 1::3]
    assert (tripled == small).mean() > 0.9995


def test_picture_is_the_large_picture_reduced() -> None:
    params = sample(8, seed=3)
    small = render(params, 64).pixels.astype(float)
    large = render(params, 256).pixels.astype(float)
    reduced = large.reshape(8, 64, 4, 64, 4, 3).mean((2, 4))
    assert np.abs(reduced - small).mean() < 2.5


def test_small_step_of_any_parameter_changes_the_picture_a_little() -> None:
    unit = to_unit(sample(12, seed=4)) * 0.99
    before = render(from_unit(unit), 64).pixels.astype(int)
    for column, name in enumerate(PARAMETER_NAMES):
        moved = unit.copy()
        moved[:, column] += 0.004
        change = np.abs(render(from_unit(moved), 64).pixels - before)
        assert change.max() <= 20, name
        assert change.mean() < 0.2, name
        moved[:, column] = np.where(unit[:, column] > 0, -0.99, 0.99)
        assert (render(from_unit(moved), 64).pixels != before).any((1, 2, 3)).all(), name


def test_batch_equals_one_by_one() -> None:
    params = sample(21, seed=5)
    together = render(params, 64)
    for i in range(len(params)):
        alone = render(params[i : i + 1], 64)
        assert np.array_equal(together.pixels[i], alone.pixels[0])
        assert np.array_equal(together.mask[i], alone.mask[0])


def test_styles_share_masks_and_look_different() -> None:
    params = sample(10, seed=6)
    default, shifted = render(params, 64), render(params, 64, style=SHIFTED_STYLE)
    assert np.array_equal(default.mask, shifted.mask)
    assert np.abs(default.pixels.astype(int) - shifted.pixels).mean() > 15
    plain = render(params, 64, style=Style(outline_opacity=0.0, shading_strength=0.0))
    assert np.array_equal(default.mask, plain.mask)
    assert Style() == DEFAULT_STYLE


def test_extremes_and_awkward_sizes_draw_without_warnings() -> None:
    corners = np.where(np.random.default_rng(7).random((20, len(PARAMETERS))) < 0.5, -1.0, 1.0)
    for resolution in (8, 33):
        assert render(from_unit(corners), resolution).mask.shape[1:] == (resolution, resolution)


def test_palette_image_colours_labels() -> None:
    mask = np.arange(len(LABELS), dtype=np.uint8).reshape(1, 1, -1)
    assert np.array_equal(palette_image(mask)[0, 0], LABEL_COLORS)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="params must be"):
        render(np.zeros((1, 3)), 64)
    with pytest.raises(ValueError, match="resolution must be"):
        render(sample(1, seed=0), 4)
    with pytest.raises(ValueError, match="labels 0 to 10"):
        palette_image(np.full((1, 2, 2), 11, np.uint8))
    with pytest.raises(ValueError, match="outline_opacity"):
        Style(outline_opacity=1.5)
    with pytest.raises(ValueError, match="shading_softness"):
        Style(shading_softness=0.0)
