"""Masks in exports of Label Studio: shapes in percent, and its own code of a brush."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms.run_lengths import decode_label_studio
from editvec.registry.masks.sources import read_any_mask
from tests.support.mask_drawings import SCHEME, drawn_mask, label_studio_task, result

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
