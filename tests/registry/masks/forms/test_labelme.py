"""Masks in files of LabelMe and X-AnyLabeling."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.masks.sources import masked_images, open_masks, read_any_mask
from tests.support.mask_drawings import SCHEME, drawn_mask


def _shape(label: str, points: list[list[float]], kind: str | None = "polygon") -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}}


def _box(top: int, left: int, bottom: int, right: int) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _file(*shapes: dict[str, Any], image: str = "a.jpg") -> dict[str, Any]:
    return {
        "version": "5.0", "flags": {}, "shapes": list(shapes), "imagePath": image,
        "imageData": None, "imageHeight": 12, "imageWidth": 20,
    }  # fmt: skip


def _drawn(image: str = "a.jpg") -> dict[str, Any]:
    return _file(
        _shape("body", [[1, 2], [19, 11]], "rectangle"),
        _shape("eye_left", _box(4, 3, 7, 7), None),
        _shape("Right Eye", _box(4, 12, 7, 16), "rotation"),
        image=image,
    )


def _save(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _png(inside: np.ndarray[Any, Any]) -> str:
    stream = io.BytesIO()
    Image.fromarray(inside).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_shapes_become_parts(tmp_path: Path) -> None:
    assert (read_any_mask(_save(tmp_path / "a.json", _drawn()), SCHEME) == drawn_mask()).all()


def test_four_cornered_rectangles_circles_and_masks(tmp_path: Path) -> None:
    inside = np.array([[True, False, True], [False, True, True]])
    brush = {**_shape("eye_left", [[14, 1], [16, 2]], "mask"), "mask": _png(inside)}
    content = _file(
        _shape("body", _box(8, 2, 11, 9), "rectangle"),
        _shape("eye_right", [[5, 4], [5, 7.5]], "circle"),
        brush,
    )

    read = read_any_mask(_save(tmp_path / "a.json", content), SCHEME)

    rows, columns = np.indices((12, 20)) + 0.5
    expected = np.zeros((12, 20), int)
    expected[8:11, 2:9] = 1
    expected[(columns - 5) ** 2 + (rows - 4) ** 2 < 3.5**2] = 3
    expected[1:3, 14:17][inside] = 2
    assert (read == expected).all()


def test_folder_has_a_mask_for_each_file(tmp_path: Path) -> None:
    _save(tmp_path / "set" / "a.json", _drawn("..\\photos\\a.png"))
    _save(tmp_path / "set" / "in" / "b.json", _file(image="../x/b.jpg"))
    _save(tmp_path / "set" / "notes.json", {"by": "me"})
    for name in ("a.png", "in/b.jpg"):  # photographs beside their files
        Image.new("RGB", (20, 12)).save(tmp_path / "set" / name)

    found = open_masks(tmp_path / "set", SCHEME)

    assert [mask.name for mask in found] == ["a.png", "in/b.jpg"]
    assert (found[0].read() == drawn_mask()).all()
    assert (found[1].read() == 0).all()  # nothing is drawn on it
    pairs = masked_images(tmp_path / "set", tmp_path / "set", SCHEME)
    assert [pair.mask.name for pair in pairs] == ["a.png", "in/b.jpg"]


def test_png_that_may_be_a_mask_as_well_needs_the_form(tmp_path: Path) -> None:
    _save(tmp_path / "a.json", _drawn("a.jpg"))
    Image.new("L", (20, 12)).save(tmp_path / "a.png")

    with pytest.raises(MaskError, match=r"does not speak of, such as a.png; .*--form"):
        open_masks(tmp_path, SCHEME)
    assert [mask.name for mask in open_masks(tmp_path, SCHEME, form="labelme")] == ["a.jpg"]
    assert (read_any_mask(tmp_path, SCHEME, form="index") == 0).all()


def test_points_and_lines_can_be_left_out(tmp_path: Path) -> None:
    others = [_shape("x", [[1, 1], [2, 2]], kind) for kind in ("point", "line", "linestrip")]
    content = _drawn()
    content["shapes"] += others
    path = _save(tmp_path / "a.json", content)

    with pytest.raises(MaskError, match=r"shapes\[3\]: point 'x': it covers no pixels"):
        read_any_mask(path, SCHEME)
    assert (read_any_mask(path, SCHEME, skips_other_shapes=True) == drawn_mask()).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["shapes"][0].update(label="wing"), "'wing' is none of the parts"),
        (lambda c: c["shapes"][0].pop("label"), r"shapes\[0\]: label: expected a text"),
        (lambda c: c["shapes"][1].update(points=[[1, 2], [3, 4]]), "needs three points"),
        (lambda c: c["shapes"][0].update(points=[[1, 2]]), "expected 2 points, got 1"),
        (lambda c: c["shapes"][0].update(points=[[1, 2, 3]]), "expected pairs of x and y"),
        (lambda c: c["shapes"][0].update(shape_type="cloud"), "shape_type 'cloud' is none"),
        (lambda c: c["shapes"][0].update(shape_type="mask", mask="?"), "a PNG in base64"),
        (lambda c: c["shapes"][0].update(shape_type="mask", mask=_png(np.ones((2, 2), bool))),
         "its mask has 2 x 2 pixels, other than"),
        (lambda c: c.update(imageHeight=0), "no size of a mask"),
        (lambda c: c.update(imageHeight=None, imageWidth=None), "does not say how many pixels"),
        (lambda c: c.update(imagePath="x/"), "imagePath: expected the name of a picture"),
    ],
)  # fmt: skip
def test_wrong_labelme_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    content = _drawn()
    change(content)

    with pytest.raises(MaskError, match=message):
        read_any_mask(_save(tmp_path / "a.json", content), SCHEME)


def test_rectangle_lies_straight_and_a_circle_is_round_in_a_large_picture(tmp_path: Path) -> None:
    content = _file(
        _shape("body", [[390, 220], [10, 20]], "rectangle"),  # its corners the other way round
        _shape("eye_left", [[200, 120], [260, 200]], "circle"),
    ) | {"imageHeight": 300, "imageWidth": 400}
    rows, columns = np.indices((300, 400)) + 0.5
    expected = np.zeros((300, 400), int)
    expected[20:220, 10:390] = 1
    distance = np.hypot(columns - 200, rows - 120)
    expected[distance < 100] = 2

    read = read_any_mask(_save(tmp_path / "a.json", content), SCHEME)

    near = np.abs(distance - 100) < 0.05  # the circle is a polygon of many corners
    assert (read == expected)[~near].all()


@pytest.mark.parametrize(
    ("points", "is_inside"),
    [
        ([[0, 0], [1, 1]], True),
        ([[18, 10], [19, 11]], True),
        ([[19, 10], [20, 11]], False),
        ([[18, 11], [19, 12]], False),
        ([[-1, 0], [0, 1]], False),
        ([[0, -1], [1, 0]], False),
    ],
)
def test_mask_of_a_shape_reaches_to_the_border_and_no_further(
    tmp_path: Path, points: list[list[float]], is_inside: bool
) -> None:
    """Its pixels are 0 and 1, as some tools write them."""
    inside = np.array([[0, 1], [1, 1]], np.uint8)
    brush = {**_shape("body", points, "mask"), "mask": _png(inside)}
    path = _save(tmp_path / "a.json", _file(brush))

    if not is_inside:
        with pytest.raises(MaskError, match="its box is not inside of the picture"):
            read_any_mask(path, SCHEME)
        return
    expected = np.zeros((12, 20), int)
    left, top = (int(value) for value in points[0])
    expected[top : top + 2, left : left + 2] = inside
    assert (read_any_mask(path, SCHEME) == expected).all()


@pytest.mark.parametrize("points", [[[0, 0], [2, 1]], [[0, 0], [1, 2]]])
def test_mask_of_a_shape_of_another_width_or_height_is_refused(
    tmp_path: Path, points: list[list[float]]
) -> None:
    brush = {**_shape("body", points, "mask"), "mask": _png(np.ones((2, 2), bool))}

    with pytest.raises(MaskError, match="its mask has 2 x 2 pixels, other than its points say"):
        read_any_mask(_save(tmp_path / "a.json", _file(brush)), SCHEME)


@pytest.mark.parametrize("half", ["imageHeight", "imageWidth"])
def test_half_a_size_is_none(tmp_path: Path, half: str) -> None:
    content = {**_drawn(), half: None}

    with pytest.raises(MaskError, match="pixels are no size of a mask"):
        read_any_mask(_save(tmp_path / "a.json", content), SCHEME)


def test_mask_of_a_shape_whose_place_is_no_number_is_refused(tmp_path: Path) -> None:
    brush = {
        **_shape("body", [[float("nan"), 0], [1, 1]], "mask"),
        "mask": _png(np.ones((2, 2)) > 0),
    }

    with pytest.raises(MaskError, match="points: expected a number, got nan"):
        read_any_mask(_save(tmp_path / "a.json", _file(brush)), SCHEME)
