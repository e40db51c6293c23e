"""Masks in COCO's annotations, and the polygons and run lengths that they are made of."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as pycoco

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms.drawings import check_extent
from editvec.registry.masks.forms.run_lengths import decode_coco
from editvec.registry.masks.forms.shapes import fill_polygon
from editvec.registry.masks.sources import open_masks, read_any_mask
from tests.support.mask_drawings import SCHEME, drawn_mask

# of pycocotools itself, with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _coco(regions: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    names = ("car", "body", "eye", "Right Eye", "eye_left")
    return {
        "images": [{"id": 5, "file_name": "x/a.jpg", "height": 12, "width": 20}],
        "categories": [{"id": 10 + i, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {"image_id": 5, "category_id": 10 + names.index(name), "segmentation": segmentation}
            for name, segmentation in regions
        ],
    }


def _polygon(top: int, left: int, bottom: int, right: int) -> list[int]:
    return [left, top, right, top, right, bottom, left, bottom]


def _rle(inside: npt.NDArray[np.bool_], *, is_text: bool) -> dict[str, Any]:
    code = pycoco.encode(np.asfortranarray(inside.astype(np.uint8)))
    if is_text:
        return {"size": code["size"], "counts": code["counts"].decode()}
    flat = inside.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return {"size": list(inside.shape), "counts": np.diff([0, *edges, flat.size]).tolist()}


def test_coco_polygons_and_run_lengths(tmp_path: Path) -> None:
    eyes = [_polygon(4, 3, 7, 7), _polygon(4, 12, 7, 16)]
    polygons = [("body", [_polygon(2, 1, 11, 19)]), ("eye", eyes)]
    codes = [
        ("body", _rle(drawn_mask() > 0, is_text=True)),
        ("eye", _rle(drawn_mask() > 1, is_text=False)),
    ]
    named = [*polygons[:1], ("eye_left", eyes[:1]), ("Right Eye", eyes[1:])]

    for regions in (polygons, codes, named):
        (tmp_path / "a.json").write_text(json.dumps(_coco(regions)))
        assert (read_any_mask(tmp_path / "a.json", SCHEME, image="a.jpg") == drawn_mask()).all()


@pytest.mark.parametrize("segmentation", [[], None, {}])
def test_part_with_a_box_only_is_its_box(tmp_path: Path, segmentation: Any) -> None:
    content = _coco([("body", segmentation), ("eye_left", [_polygon(4, 3, 7, 7)])])
    content["annotations"][0]["bbox"] = [1.0, 2, 18, 9]
    (tmp_path / "a.json").write_text(json.dumps(content))

    read = read_any_mask(tmp_path / "a.json", SCHEME)

    assert (read == np.where(drawn_mask() == 3, 1, drawn_mask())).all()


def test_images_without_annotations_are_background_and_equal_categories_are_one(
    tmp_path: Path,
) -> None:
    content = _coco([("body", [_polygon(2, 1, 11, 19)])])
    content["images"].insert(0, {"id": 6, "file_name": "b.jpg", "height": 7, "width": 9})
    content["categories"].append(dict(content["categories"][1]))
    (tmp_path / "a.json").write_text(json.dumps(content))

    found = open_masks(tmp_path / "a.json", SCHEME)

    assert [mask.name for mask in found] == ["b.jpg", "x/a.jpg"]
    assert (found[0].read() == np.zeros((7, 9))).all()
    assert (found[1].read() == (drawn_mask() > 0)).all()


def test_skipped_key_points_leave_the_rest(tmp_path: Path) -> None:
    content = _coco([("body", [_polygon(2, 1, 11, 19)]), ("eye", [])])
    content["annotations"][1] |= {"keypoints": [4, 4, 2], "bbox": [3, 3, 2, 2]}
    (tmp_path / "a.json").write_text(json.dumps(content))

    read = read_any_mask(tmp_path / "a.json", SCHEME, skips_other_shapes=True)

    assert (read == (drawn_mask() > 0)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(category_id=10), "'car' is none of the parts"),
        (lambda c: c["annotations"][0].update(category_id=99), "category_id 99 is none"),
        (lambda c: c["annotations"][0].update(image_id=6), "image_id 6 is none of the images"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]]), "3 numbers"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "needs three points"),
        (lambda c: c["annotations"][0].update(segmentation=None),
         "expected a segmentation or a bbox"),
        (lambda c: c["annotations"][0]["segmentation"][0].__setitem__(0, "x"), "a number, got 'x'"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [1, 1], "counts": []}),
         "size .1, 1. is not that of its image"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [12, 20], "counts": [3]}),
         "its runs have 3 pixels, the mask has 240"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [12, 20], "counts": "~~"}),
         "'~' is not of COCO's code"),
        (lambda c: c["images"][0].update(height=1 << 30), "no size of a mask"),
        (lambda c: c["images"][0].pop("file_name"), "file_name: expected a text"),
        (lambda c: c["annotations"][0].update(segmentation=[], bbox=[1, 2, 0, 4]),
         r"annotations\[0\]: bbox: expected .x, y, width, height."),
        (lambda c: c["annotations"][0].update(segmentation=[], bbox=[1, 2, 3, 4], keypoints=[1]),
         r"annotations\[0\]: it covers no pixels"),
        (lambda c: c["categories"].append({"id": 11, "name": "hair"}),
         r"categories\[5\]: the id 11 is that of categories\[1\] already: 'body' and 'hair'"),
        (lambda c: c["images"].append({**c["images"][0], "file_name": "b.jpg"}),
         r"images\[1\]: the id 5 is that of images\[0\] already: 'x/a.jpg' and 'b.jpg'"),
        (lambda c: c["images"].append(dict(c["images"][0])),
         r"images\[1\]: the id 5 is that of images\[0\] already"),
        (lambda c: c.update(images=[], annotations=[]), "there is no mask in it"),
    ],
)  # fmt: skip
def test_wrong_coco_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    content = _coco([("body", [_polygon(2, 1, 11, 19)])])
    change(content)
    (tmp_path / "a.json").write_text(json.dumps(content))

    with pytest.raises(MaskError, match=message):
        read_any_mask(tmp_path / "a.json", SCHEME)


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_coco_text_is_what_pycocotools_means(height: int, width: int, random: Any) -> None:
    block = np.ones((random.randint(1, 30), random.randint(1, 30)), np.bool_)
    small = np.array([[random.random() < 0.5 for _ in range(width)] for _ in range(height)])
    inside = np.kron(small, block).astype(np.bool_)
    code = _rle(inside, is_text=True)

    assert (decode_coco(code["counts"], *inside.shape, of="x") == inside).all()


def test_coco_text_of_a_number_in_seven_groups_is_the_longest() -> None:
    """`P` is a group of nothing, and more to come."""
    inside = np.zeros((3, 4), np.bool_)
    inside[1:, 2] = True
    text = _rle(inside, is_text=True)["counts"]
    first, rest = chr(ord(text[0]) + 32), text[1:]  # the first group of more

    assert text[0] == "7"
    assert (decode_coco(f"{first}PPPPP0{rest}", 3, 4, of="x") == inside).all()
    with pytest.raises(MaskError, match="'0' is not of COCO's code"):
        decode_coco(f"{first}PPPPPP0{rest}", 3, 4, of="x")


@pytest.mark.parametrize("wrong", ["/", "p", "\x00", "é"])
def test_characters_around_coco_s_code_are_refused(wrong: str) -> None:
    with pytest.raises(MaskError, match="is not of COCO's code"):
        decode_coco(wrong, 1, 1, of="x")


@pytest.mark.parametrize("text", ["o", "P", "1P"])
def test_coco_text_that_ends_within_a_number_is_refused(text: str) -> None:
    with pytest.raises(MaskError, match="the text ends within a number"):
        decode_coco(text, 1, 1, of="x")


@pytest.mark.parametrize("counts", ["O2", [-1, 2], [1.0], [True], [1 << 40], ["1"]])
def test_lengths_that_are_none_are_refused(counts: Any) -> None:
    with pytest.raises(MaskError, match="expected lengths of runs, 0 or more"):
        decode_coco(counts, 1, 1, of="x")


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 40)), min_size=3, max_size=3))
def test_triangles_have_their_area_and_nothing_outside(points: list[tuple[float, float]]) -> None:
    filled = fill_polygon(points, 40, 60, of="x")

    (ax, ay), (bx, by), (cx, cy) = points
    area = abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2
    around = sum(
        np.hypot(p[0] - q[0], p[1] - q[1])
        for p, q in zip(points, points[1:] + points[:1], strict=True)
    )
    assert abs(filled.sum() - area) <= around + 1
    rows, columns = np.nonzero(filled)
    assert ((columns + 0.5 >= min(ax, bx, cx)) & (columns + 0.5 <= max(ax, bx, cx))).all()
    assert ((rows + 0.5 >= min(ay, by, cy)) & (rows + 0.5 <= max(ay, by, cy))).all()


def test_neighbouring_polygons_share_no_pixel_and_leave_no_gap() -> None:
    left = fill_polygon([(0, 0), (13.3, 0), (7.1, 30), (0, 30)], 30, 30, of="x")
    right = fill_polygon([(13.3, 0), (30, 0), (30, 30), (7.1, 30)], 30, 30, of="x")

    assert (left ^ right).all()


def test_centres_on_an_edge_belong_to_what_lies_right_of_it_or_below() -> None:
    """By hand: the centre of pixel (row, column) is (column + 0.5, row + 0.5)."""
    inner = fill_polygon([(0.5, 0.5), (3.5, 0.5), (3.5, 2.5), (0.5, 2.5)], 5, 6, of="x")
    right = fill_polygon([(3.5, 0.5), (6, 0.5), (6, 2.5), (3.5, 2.5)], 5, 6, of="x")

    assert np.argwhere(inner).tolist() == [[y, x] for y in (0, 1) for x in (0, 1, 2)]
    assert np.argwhere(right).tolist() == [[y, x] for y in (0, 1) for x in (3, 4, 5)]


def test_polygons_around_and_beside_the_picture() -> None:
    around = [(-5, -5), (30, -5), (30, 30), (-5, 30)]
    beside = [(7, 1), (9, 1), (9, 3), (7, 3)]
    below = [(1, 5), (3, 5), (3, 9), (1, 9)]

    assert fill_polygon(around, 4, 6, of="x").all()
    assert not fill_polygon(beside, 4, 6, of="x").any()
    assert not fill_polygon(below, 4, 6, of="x").any()
    last = fill_polygon([(5, 3), (6, 3), (6, 4), (5, 4)], 4, 6, of="x")
    assert np.argwhere(last).tolist() == [[3, 5]]


def test_what_a_polygon_surrounds_twice_is_outside() -> None:
    twice = [(0, 0), (6, 0), (6, 6), (0, 6), (0, 0), (2, 2), (4, 2), (4, 4), (2, 4), (2, 2)]
    expected = np.ones((6, 6), np.bool_)
    expected[2:4, 2:4] = False

    assert (fill_polygon(twice, 6, 6, of="x") == expected).all()


@pytest.mark.parametrize("far", [1e6, -1e6])
def test_points_far_away_are_no_places(far: float) -> None:
    fill_polygon([(0, 0), (far, 0), (0, 3)], 2, 2, of="x")

    for wrong in (far * 1.001, float("nan"), float("inf")):
        with pytest.raises(MaskError, match="is no place in a picture"):
            fill_polygon([(0, 0), (wrong, 0), (0, 3)], 2, 2, of="x")


def test_box_lies_straight_in_a_large_picture(tmp_path: Path) -> None:
    content = _coco([("body", [])])
    content["images"][0] |= {"height": 300, "width": 400}
    content["annotations"][0]["bbox"] = [10, 20, 380, 200]
    (tmp_path / "a.json").write_text(json.dumps(content))
    expected = np.zeros((300, 400), int)
    expected[20:220, 10:390] = 1

    assert (read_any_mask(tmp_path / "a.json", SCHEME) == expected).all()


@pytest.mark.parametrize("box", [[1, 2, 0, 4], [1, 2, 3, 0], [1, 2, 3], [1, 2, 3, 4, 5], [1] * 3])
def test_box_without_area_is_refused(tmp_path: Path, box: list[int]) -> None:
    content = _coco([("body", [])])
    content["annotations"][0]["bbox"] = box
    (tmp_path / "a.json").write_text(json.dumps(content))

    with pytest.raises(MaskError, match=r"expected .x, y, width, height."):
        read_any_mask(tmp_path / "a.json", SCHEME)


@pytest.mark.parametrize(
    ("height", "width", "is_size"),
    [
        (1 << 13, 1 << 13, True),
        ((1 << 26) + 1, 1, False),
        (1, (1 << 26) + 1, False),
        (1, 1, True),
        (0, 1, False),
        (1, 0, False),
        (True, 1, False),
        (1, True, False),
        (1.0, 1, False),
        (1, "1", False),
        (None, 1, False),
        (1, None, False),
    ],
)
def test_size_of_a_mask_is_two_numbers_within_the_limit(
    height: Any, width: Any, is_size: bool
) -> None:
    if is_size:
        check_extent(height, width, of="x")
    else:
        with pytest.raises(MaskError, match="pixels are no size of a mask"):
            check_extent(height, width, of="x")


def test_identities_are_numbers_or_texts_and_no_truth(tmp_path: Path) -> None:
    content = _coco([("body", [_polygon(2, 1, 11, 19)])])
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = "photo-1"
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert (read_any_mask(tmp_path / "a.json", SCHEME) == (drawn_mask() > 0)).all()

    for wrong in (True, None, 1.5, [1]):
        content["images"][0]["id"] = wrong
        (tmp_path / "a.json").write_text(json.dumps(content))
        with pytest.raises(MaskError, match=r"images\[0\]: id: expected a number"):
            open_masks(tmp_path / "a.json", SCHEME)
