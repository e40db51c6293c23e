"""Masks in exports of Label Studio: shapes in percent, and its own code of a brush."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms.run_lengths import decode_label_studio
from editvec.registry.masks.sources import masked_images, open_masks, read_any_mask
from tests.support.mask_drawings import SCHEME, drawn_mask, label_studio_task, percent, result

# what label-studio-sdk 2.1.2 makes (converter.brush.mask2rle) of the picture that the test draws
_BRUSH = [
    0, 0, 0, 216, 57, 27, 254, 43, 0, 194, 127, 247, 192, 35, 255, 140, 2, 223, 253, 240, 12, 39,
    255, 56, 4, 127, 249, 12, 0,
]  # fmt: skip
_NOISE = [
    0, 0, 0, 140, 57, 27, 252, 96, 22, 255, 240, 216, 4, 127, 241, 128, 71, 255, 24, 4, 127, 243,
    128, 95, 255, 182, 1, 31, 254, 19, 0, 159, 254, 112, 0,
]  # fmt: skip


def test_brush_of_label_studio_is_decoded() -> None:
    expected = np.zeros((6, 9), np.bool_)
    expected[1:4, 2:7] = expected[4, 0] = True
    expected[2, 3] = False
    noise = [
        [0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0, 1], [0, 1, 0, 0, 1, 1, 1],
        [1, 0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0, 0],
    ]  # fmt: skip

    assert (decode_label_studio(_BRUSH, 6, 9, of="x") == expected).all()
    assert (decode_label_studio(_NOISE, 5, 7, of="x") == np.array(noise, np.bool_)).all()


def test_brush_with_words_that_are_not_repeated_is_decoded() -> None:
    # 4 pixels; header: 16 words of 8 bits; then one run of 16 single words
    bits = f"{16:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}" + "0" + "01" + f"{15:04b}"
    bits += "".join(
        f"{value:08b}" for value in (9, 9, 9, 255, 0, 0, 0, 0, 1, 1, 1, 127, 5, 5, 5, 128)
    )
    code = [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]

    assert decode_label_studio(code, 2, 2, of="x").tolist() == [[True, False], [False, True]]


def _packed(bits: str) -> list[int]:
    assert len(bits) % 8 == 0  # nothing fills the last byte
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


# 4 pixels of 4 words of 8 bits; lengths of runs are written in 8 bits
_HEADER = f"{16:032b}{7:05b}" + 4 * f"{7:04b}"


@pytest.mark.parametrize(
    "run",
    [
        f"1{0:02b}{15:08b}{200:08b}",
        f"0{3:02b}{15:08b}" + 16 * f"{128:08b}",
    ],
    ids=["repeated", "one by one"],
)
def test_brush_that_ends_with_a_byte_is_decoded_and_none_of_its_beginnings(run: str) -> None:
    code = _packed(_HEADER + run)

    assert decode_label_studio(code, 2, 2, of="x").all()
    for length in range(7, len(code)):
        with pytest.raises(MaskError, match="ends too early"):
            decode_label_studio(code[:length], 2, 2, of="x")
    with pytest.raises(MaskError, match="expected a list of bytes"):
        decode_label_studio(code[:6], 2, 2, of="x")


def test_brush_whose_last_run_is_too_long_is_refused() -> None:
    runs = f"1{0:02b}{14:08b}{255:08b}" + f"1{0:02b}{1:08b}{255:08b}"  # 15 words and 2

    with pytest.raises(MaskError, match="its runs are longer than the picture"):
        decode_label_studio(_packed((_HEADER + runs).ljust(96, "0")), 2, 2, of="x")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([1, 2], "expected a list of bytes"),
        ([0] * 12 + [256], "expected a list of bytes"),
        ([0] * 12 + [-1], "expected a list of bytes"),
        ([[0] * 12], "expected a list of bytes"),
        ([0] * 12 + [300], "expected a list of bytes"),
        (["a"] * 20, "expected a list of bytes"),
        (_BRUSH[:12], "ends too early"),
        ([0, 0, 0, 4, *_BRUSH[4:]], "it holds 4 values, 9 x 6 pixels have 216"),
    ],
)
def test_wrong_brush_is_refused(code: list[Any], message: str) -> None:
    with pytest.raises(MaskError, match=message):
        decode_label_studio(code, 6, 9, of="x")


def test_label_studio_json_and_json_min(tmp_path: Path) -> None:
    task = label_studio_task()
    regions = [
        {**one["value"], "original_width": 20, "original_height": 12}
        for one in task["annotations"][0]["result"][1:]
    ]
    smaller = {"image": task["data"]["image"], "id": 7, "annotation_id": 3, "label": regions}
    cancelled = label_studio_task()
    cancelled["annotations"].append({"was_cancelled": True, "result": []})

    for tasks in ([task], [smaller], [cancelled], [task, {"data": {}, "annotations": []}]):
        (tmp_path / "a.json").write_text(json.dumps(tasks))
        assert (read_any_mask(tmp_path / "a.json", SCHEME, image="a.jpg") == drawn_mask()).all()


def test_ellipse_and_turned_rectangle_of_label_studio(tmp_path: Path) -> None:
    task = label_studio_task()
    task["annotations"][0]["result"] = [
        result({"x": 50, "y": 50, "radiusX": 30, "radiusY": 25, "rotation": 90,
                 "ellipselabels": ["body"]}),
        result({"x": 50, "y": 0, "width": 10, "height": 25, "rotation": 90,
                 "rectanglelabels": ["eye_left"]}),
    ]  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps([task]))

    mask = read_any_mask(tmp_path / "a.json", SCHEME)

    rows, columns = np.nonzero(mask == 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 11, 7, 12)
    assert mask[0:2, 7:10].tolist() == [[2] * 3] * 2  # from (10, 0), 2 wide, turned to the left
    assert (mask == 2).sum() == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["annotations"].append(dict(t["annotations"][0])),
         "2 annotations of .*a.jpg, two masks for one image"),
        (lambda t: t["annotations"][0]["result"].append(
            result({"x": 1, "y": 2, "width": 1, "keypointlabels": ["body"]})),
         "covers no pixels"),
        (lambda t: t["annotations"][0]["result"][1]["value"].update(polygonlabels=["wing"]),
         "'wing' is none of the parts of the scheme: background"),
        (lambda t: t["annotations"][0]["result"][1].update(original_width=21), "of 2 sizes"),
        (lambda t: t["data"].update(image=5), "expected the name of a picture"),
        (lambda t: t["annotations"][0]["result"][1]["value"].update(points=[[1]]), "pairs of x"),
    ],
)  # fmt: skip
def test_wrong_label_studio_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    task = label_studio_task()
    change(task)
    (tmp_path / "a.json").write_text(json.dumps([task]))

    with pytest.raises(MaskError, match=message):
        read_any_mask(tmp_path / "a.json", SCHEME)


# --- tasks and their pictures ---


def _square(label: str, *, picture: str = "image", region: str | None = None) -> dict[str, Any]:
    value = {"points": percent(4, 3, 7, 7), "polygonlabels": [label]}
    return {**result(value), "to_name": picture, "id": region}


def _save(path: Path, *tasks: dict[str, Any]) -> Path:
    path.write_text(json.dumps(tasks))
    return path


def test_task_of_two_pictures_is_a_mask_for_each(tmp_path: Path) -> None:
    data = {"img1": "a.jpg", "img2": "b.jpg", "thumbnail": "t.png"}
    results = [_square("body", picture="img1"), _square("eye_left", picture="img2")]
    both = {"data": data, "annotations": [{"result": results}]}
    one = {"data": {**data, "img1": "c.jpg", "img2": "d.jpg"}, "annotations": [{"result": []}]}

    found = open_masks(_save(tmp_path / "a.json", both, one), SCHEME)

    assert [mask.name for mask in found] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    inside = drawn_mask() == 2
    expected = [inside * 1, inside * 2, inside * 0, inside * 0]
    for mask, labels in zip(found, expected, strict=True):
        assert (mask.read() == labels).all()


@pytest.mark.parametrize(
    ("data", "picture", "message"),
    [
        ({"one": "a.jpg", "two": "b.jpg"}, "img", "to_name 'img' is none of .*: one, two"),
        ({"one": "a.jpg", "two": "blob?id=3"}, "two", "to_name 'two' is none of .*: one"),
    ],
)
def test_region_of_no_certain_picture_is_refused(
    tmp_path: Path, data: dict[str, Any], picture: str, message: str
) -> None:
    task = {"data": data, "annotations": [{"result": [_square("body", picture=picture)]}]}

    with pytest.raises(MaskError, match=message):
        open_masks(_save(tmp_path / "a.json", task), SCHEME)
    short = {**data, "annotation_id": 1, "label": [_square("body")["value"]]}
    short["two"] = "b.jpg"
    with pytest.raises(MaskError, match="does not say which of the task's pictures"):
        open_masks(_save(tmp_path / "a.json", short), SCHEME)


def test_object_may_be_called_other_than_the_one_picture_of_the_data(tmp_path: Path) -> None:
    for data in ({"photo": "a.jpg"}, {"image": "a.jpg", "thumbnail": "t.jpg"}):
        task = {"data": data, "annotations": [{"result": [_square("body", picture="img")]}]}
        found = open_masks(_save(tmp_path / "a.json", task), SCHEME)
        assert [mask.name for mask in found] == ["a.jpg"]


def test_task_without_regions_is_background_of_the_size_of_its_picture(tmp_path: Path) -> None:
    empty = {"data": {"image": "b.jpg"}, "annotations": [{"result": []}]}
    short = {"image": "c.jpg", "annotation_id": 4}
    skipped = {"data": {"image": "d.jpg"}, "annotations": [{"result": [], "was_cancelled": True}]}
    Image.new("RGB", (9, 7)).save(tmp_path / "b.jpg")
    path = _save(tmp_path / "a.json", label_studio_task(), empty, short, skipped)

    found = {mask.name: mask for mask in open_masks(path, SCHEME)}

    assert sorted(found) == ["/data/upload/1/0a1b2c3d-a.jpg", "b.jpg", "c.jpg"]
    assert (found["b.jpg"].read() == np.zeros((12, 20))).all()  # as large as the others
    [pair] = masked_images(tmp_path, path, SCHEME)
    assert (pair.read_mask() == np.zeros((7, 9))).all()
    sized = open_masks(path, SCHEME, images=tmp_path)
    assert [mask.read().shape for mask in sized] == [(12, 20), (7, 9), (12, 20)]
    with pytest.raises(MaskError, match="does not say how many pixels its picture has"):
        read_any_mask(_save(tmp_path / "b.json", empty), SCHEME)


def test_region_has_one_label(tmp_path: Path) -> None:
    two = _square("body")
    two["value"]["polygonlabels"] = ["body", "eye"]
    bare = {**_square("body", region="r"), "type": "polygon"}
    bare["value"] = {"points": bare["value"]["points"]}
    elsewhere = _square("body", region="r")
    elsewhere["value"] = {**elsewhere["value"], "points": percent(2, 1, 11, 19)}
    choice = {**bare, "value": {**bare["value"], "choices": ["x"]}}

    for results, message in (
        ([two], r"result\[0\]: 2 labels on one region, 'body' and 'eye'"),
        ([_square("body", region="r"), _square("eye", region="r")], "2 labels on one region"),
        ([bare], r"result\[0\]: a region without a label"),
        ([elsewhere, bare], r"result\[1\]: a region without a label"),
        ([_square("body", region="s"), bare], r"result\[1\]: a region without a label"),
    ):
        task = {"data": {"image": "a.jpg"}, "annotations": [{"result": results}]}
        with pytest.raises(MaskError, match=message):
            read_any_mask(_save(tmp_path / "a.json", task), SCHEME)
    good = [bare, choice, _square("body", region="r"), _square("eye_left")]
    task = {"data": {"image": "a.jpg"}, "annotations": [{"result": good}]}
    read = read_any_mask(_save(tmp_path / "a.json", task), SCHEME)
    assert (read == (drawn_mask() == 2) * 2).all()


def test_key_points_are_of_their_picture_only_and_can_be_left_out(tmp_path: Path) -> None:
    point = result({"x": 1, "y": 2, "width": 1, "keypointlabels": ["no part"]})
    other = {"data": {"image": "b.jpg"}, "annotations": [{"result": [point]}]}
    path = _save(tmp_path / "a.json", label_studio_task(), other)

    assert (read_any_mask(path, SCHEME, image="a.jpg") == drawn_mask()).all()
    with pytest.raises(MaskError, match=r"task 2: result\[0\]: it covers no pixels"):
        read_any_mask(path, SCHEME, image="b.jpg")
    read = read_any_mask(path, SCHEME, image="b.jpg", skips_other_shapes=True)
    assert (read == np.zeros((12, 20))).all()


def test_last_component_of_a_windows_path_counts(tmp_path: Path) -> None:
    served = "/data/local-files/?d=Ml%5Ccoco-segments%5Ctrain%5C"
    one = label_studio_task(image=f"{served}win.jpg")
    same = label_studio_task(image="D:\\other\\win.jpg")

    assert [m.name for m in open_masks(_save(tmp_path / "a.json", one), SCHEME)] == ["win.jpg"]
    both = [m.name for m in open_masks(_save(tmp_path / "a.json", one, same), SCHEME)]
    assert both == ["Ml/coco-segments/train/win.jpg", "other/win.jpg"]
