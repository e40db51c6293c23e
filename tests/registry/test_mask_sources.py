"""Masks in every form that annotation tools write become the same labels."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as pycoco

from registry.errors import MaskError
from registry.mask_forms.run_lengths import decode_coco, decode_cvat, decode_label_studio
from registry.mask_forms.shapes import fill_polygon
from registry.mask_sources import MaskForm, masked_images, open_masks, read_any_mask
from registry.masks import MaskArray, encode_mask
from registry.scheme_files import parse_scheme

# of pycocotools itself, with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEME = parse_scheme(
    """
parts:
  - background
  - {name: body, color: "#ff0000"}
  - {name: eye_left, color: "#00ff00", value: 50}
  - {name: eye_right, color: "#0000ff", also: [60, "Right Eye"]}
splits:
  eye: {left: eye_left, right: eye_right, color: "#ffff00", value: 70}
"""
)
COLORS = np.array([label.color for label in SCHEME.labels], np.uint8)


def _mask() -> MaskArray:
    mask = np.zeros((12, 20), np.int32)
    mask[2:11, 1:19] = 1
    mask[4:7, 3:7] = 2
    mask[4:7, 12:16] = 3
    return mask


def _unsplit() -> MaskArray:
    """As an annotator leaves it who only knows `eye`: 4 stands for the split."""
    return np.where(_mask() >= 2, 4, _mask())


def _png(path: Path, pixels: npt.NDArray[Any], mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path) if mode is None else Image.fromarray(pixels, mode).save(path)
    return path


# --- pictures ---


def test_index_png_holds_the_values_of_the_scheme(tmp_path: Path) -> None:
    values = np.array([0, 1, 50, 60, 70], np.uint8)
    whole = _png(tmp_path / "a.png", values[_mask()])
    unsplit = _png(tmp_path / "b.png", values[_unsplit()])

    assert (read_any_mask(whole, SCHEME) == _mask()).all()
    assert (read_any_mask(unsplit, SCHEME) == _mask()).all()


def test_colours_are_read_from_rgb_rgba_and_palettes(tmp_path: Path) -> None:
    rgb = COLORS[_mask()]
    alpha = np.where(_mask() > 0, 255, 0).astype(np.uint8)[..., None]
    split = np.where((_unsplit() == 4)[..., None], np.uint8([255, 255, 0]), rgb)
    paths = [
        _png(tmp_path / "rgb.png", rgb),
        _png(tmp_path / "rgba.png", np.concatenate([rgb, alpha], axis=2)),
        _png(tmp_path / "split.png", split),
    ]
    # a program that orders the palette as it likes
    Image.fromarray(rgb).quantize(8).save(tmp_path / "palette.png")

    for path in paths:
        assert (read_any_mask(path, SCHEME) == _mask()).all()
    read = read_any_mask(tmp_path / "palette.png", SCHEME, form="colors")
    assert (read == _mask()).all()


def test_palette_that_contradicts_its_values_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray((_mask() % 2).astype(np.uint8), "L")
    image.putpalette([255, 0, 0, 0, 0, 0])
    image.save(tmp_path / "a.png")

    with pytest.raises(MaskError, match="means background, but its palette colours it like body"):
        read_any_mask(tmp_path / "a.png", SCHEME)
    read = read_any_mask(tmp_path / "a.png", SCHEME, form=MaskForm.COLORS)
    assert (read == 1 - _mask() % 2).all()


def test_masks_of_ours_are_read_back(tmp_path: Path) -> None:
    plain = parse_scheme("parts: [background, body, a, b]")
    (tmp_path / "a.png").write_bytes(encode_mask(_mask(), plain.labels))

    assert (read_any_mask(tmp_path / "a.png", plain) == _mask()).all()


def test_one_picture_for_each_part(tmp_path: Path) -> None:
    for image in ("one", "two"):
        for name, index in (("body", 1), ("eye", 4)):
            inside = ((_unsplit() == index) * 255).astype(np.uint8)
            _png(tmp_path / "folders" / image / f"{name}.png", inside)
            _png(tmp_path / "flat" / f"{image}_{name}.png", np.repeat(inside[..., None], 3, 2))

    for layout in ("folders", "flat"):
        found = open_masks(tmp_path / layout, SCHEME)
        assert [mask.name for mask in found] == ["one", "two"]
        assert (found[1].read() == _mask()).all()
        assert (read_any_mask(tmp_path / layout, SCHEME, image="one") == _mask()).all()


def test_parts_that_overlap_lie_as_the_scheme_orders_them(tmp_path: Path) -> None:
    _png(tmp_path / "x_eye-left.png", ((_mask() == 2) * 255).astype(np.uint8))
    _png(tmp_path / "x_body.png", ((_mask() > 0) * 255).astype(np.uint8))

    assert (read_any_mask(tmp_path, SCHEME) == np.where(_mask() == 3, 1, _mask())).all()


def test_segmentation_mask_export_of_cvat(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nbody:9,9,9::\neye:1,2,3::\n"
    )
    colors = np.array([[0, 0, 0], [9, 9, 9], [0, 0, 0], [0, 0, 0], [1, 2, 3]], np.uint8)
    _png(tmp_path / "SegmentationClass" / "a.png", colors[_unsplit()])

    assert (read_any_mask(tmp_path, SCHEME) == _mask()).all()


@pytest.mark.parametrize(
    ("pixel", "form", "message"),
    [
        (np.uint8(9), None, "value 9 at row 3, column 4 is none of the scheme .*; 1 such pixels"),
        (np.uint8([1, 2, 3]), None, "colour #010203 at row 3, column 4 is that of no part"),
        (np.uint8([255, 0, 0, 9]), None, "row 3, column 4 is half transparent"),
        (np.uint8(1), "colors", "colour #010101 at row 3"),
        (np.uint8([255, 0, 0]), "index", "holds colours, not values"),
    ],
)
def test_unknown_pixel_is_refused_with_its_place(
    tmp_path: Path, pixel: npt.NDArray[np.uint8], form: str | None, message: str
) -> None:
    pixels = np.zeros((8, 8, *pixel.shape), np.uint8)
    pixels[3, 4] = pixel

    with pytest.raises(MaskError, match=message):
        read_any_mask(_png(tmp_path / "a.png", pixels), SCHEME, form=form)


def test_soft_edge_and_strange_name_of_a_part_are_refused(tmp_path: Path) -> None:
    soft = np.zeros((8, 8), np.uint8)
    soft[2, 2:4] = (17, 255)
    _png(tmp_path / "a_body.png", soft)

    with pytest.raises(MaskError, match="value 17 at row 2, column 2 is neither 0 nor 255"):
        read_any_mask(tmp_path, SCHEME)
    _png(tmp_path / "a_wing.png", soft)
    with pytest.raises(MaskError, match="its name ends with none of the parts"):
        open_masks(tmp_path, SCHEME, form="parts")


def test_jpeg_and_broken_files_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    (tmp_path / "a.json").write_text("[")
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "a.xml").write_text("<a")
    for name, message in (
        ("a.jpg", "JPEG changes colours"),
        ("a.png", "not a readable PNG"),
        ("a.json", "not JSON"),
        ("b.json", "expected COCO or Label Studio"),
        ("a.xml", "not XML"),
        ("c.png", "No such file"),
    ):
        with pytest.raises(MaskError, match=message):
            read_any_mask(tmp_path / name, SCHEME)


# --- COCO ---


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
    codes = [("body", _rle(_mask() > 0, is_text=True)), ("eye", _rle(_mask() > 1, is_text=False))]
    named = [*polygons[:1], ("eye_left", eyes[:1]), ("Right Eye", eyes[1:])]

    for regions in (polygons, codes, named):
        (tmp_path / "a.json").write_text(json.dumps(_coco(regions)))
        assert (read_any_mask(tmp_path / "a.json", SCHEME, image="a.jpg") == _mask()).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(category_id=10), "'car' is none of the parts"),
        (lambda c: c["annotations"][0].update(category_id=99), "category_id 99 is none"),
        (lambda c: c["annotations"][0].update(image_id=6), "image_id 6 is none of the images"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]]), "3 numbers"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "needs three points"),
        (lambda c: c["annotations"][0].update(segmentation=None), "expected a list, got None"),
        (lambda c: c["annotations"][0]["segmentation"][0].__setitem__(0, "x"), "a number, got 'x'"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [1, 1], "counts": []}),
         "size .1, 1. is not that of its image"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [12, 20], "counts": [3]}),
         "its runs have 3 pixels, the mask has 240"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [12, 20], "counts": "~~"}),
         "'~' is not of COCO's code"),
        (lambda c: c["images"][0].update(height=1 << 30), "no size of a mask"),
        (lambda c: c["images"][0].pop("file_name"), "file_name: expected a text"),
        (lambda c: c.update(annotations=[]), "there is no mask in it"),
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


# --- Label Studio ---

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


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([1, 2], "expected a list of bytes"),
        ([0] * 12 + [300], "expected a list of bytes"),
        (["a"] * 20, "expected a list of bytes"),
        (_BRUSH[:12], "ends too early"),
        ([0, 0, 0, 4, *_BRUSH[4:]], "it holds 4 values, 9 x 6 pixels have 216"),
    ],
)
def test_wrong_brush_is_refused(code: list[Any], message: str) -> None:
    with pytest.raises(MaskError, match=message):
        decode_label_studio(code, 6, 9, of="x")


def _percent(top: int, left: int, bottom: int, right: int) -> list[list[float]]:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [[100 * x / 20, 100 * y / 12] for x, y in corners]


def _result(value: dict[str, Any]) -> dict[str, Any]:
    return {"value": value, "original_width": 20, "original_height": 12, "type": "x"}


def _task(*, image: str = "/data/upload/1/0a1b2c3d-a.jpg", **annotation: Any) -> dict[str, Any]:
    body = _result({"points": _percent(2, 1, 11, 19), "polygonlabels": ["body"]})
    left = _result({"points": _percent(4, 3, 7, 7), "closed": True, "polygonlabels": ["eye_left"]})
    right = {"x": 60, "y": 100 / 3, "width": 20, "height": 25, "rotation": 0}
    right = _result({**right, "rectanglelabels": ["Right Eye"]})
    choice = {"value": {"choices": ["good"]}, "type": "choices"}
    return {
        "id": 7,
        "data": {"image": image},
        "annotations": [{"result": [choice, body, left, right], **annotation}],
    }


def test_label_studio_json_and_json_min(tmp_path: Path) -> None:
    task = _task()
    regions = [
        {**one["value"], "original_width": 20, "original_height": 12}
        for one in task["annotations"][0]["result"][1:]
    ]
    smaller = {"image": task["data"]["image"], "id": 7, "annotation_id": 3, "label": regions}
    cancelled = _task()
    cancelled["annotations"].append({"was_cancelled": True, "result": []})

    for tasks in ([task], [smaller], [cancelled], [task, {"data": {}, "annotations": []}]):
        (tmp_path / "a.json").write_text(json.dumps(tasks))
        assert (read_any_mask(tmp_path / "a.json", SCHEME, image="a.jpg") == _mask()).all()


def test_ellipse_and_turned_rectangle_of_label_studio(tmp_path: Path) -> None:
    task = _task()
    task["annotations"][0]["result"] = [
        _result({"x": 50, "y": 50, "radiusX": 30, "radiusY": 25, "rotation": 90,
                 "ellipselabels": ["body"]}),
        _result({"x": 50, "y": 0, "width": 10, "height": 25, "rotation": 90,
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
            _result({"x": 1, "y": 2, "width": 1, "keypointlabels": ["body"]})),
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
    task = _task()
    change(task)
    (tmp_path / "a.json").write_text(json.dumps([task]))

    with pytest.raises(MaskError, match=message):
        read_any_mask(tmp_path / "a.json", SCHEME)


# --- CVAT ---

_CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>1</id></task></meta>
<image id="0" name="x/a.jpg" width="20" height="12">
  <box label="eye" xtl="12" ytl="4" xbr="16" ybr="7" z_order="2" rotation="180"/>
  <mask label="eye" rle="0, 4, 1, 4, 1, 4, 1" left="3" top="4" width="5" height="3" z_order="1"/>
  <polygon label="body" points="1.0,2.0;19,2;19,11;1,11" z_order="0"><attribute name="a"/></polygon>
  <tag label="good"/>
</image>
<image id="1" name="b.jpg" width="20" height="12"></image>
</annotations>"""


def test_cvat_by_z_order(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(_CVAT)

    assert (read_any_mask(tmp_path / "a.xml", SCHEME) == _mask()).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("box label", "points label", "image 'x/a.jpg': points 'eye': it covers no pixels"),
        ('width="20"', 'width="x"', "width: expected a number, got 'x'"),
        ('left="3"', 'left="30"', "its box is not inside of the picture"),
        ('rle="0,', 'rle="1,', "its runs have 16 pixels, the mask has 15"),
        ("19,2;", "19,;", "points: expected a number, got ''"),
        ('xtl="12"', 'xtl="nan"', "expected a place in the picture"),
        ("<meta>", '<track id="0"/><meta>', "tracks of a video"),
        ("<annotations>", "<!DOCTYPE x><annotations>", "defines entities"),
        ("annotations>", "notes>", "expected <annotations> of CVAT"),
        ('label="body"', 'label="wing"', "'wing' is none of the parts"),
    ],
)
def test_wrong_cvat_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(_CVAT.replace(old, new))

    with pytest.raises(MaskError, match=message):
        read_any_mask(tmp_path / "a.xml", SCHEME)


def test_run_lengths_of_cvat() -> None:
    expected = [[False, True, True], [True, False, False]]
    assert decode_cvat("1, 3, 2", 2, 3, of="x").tolist() == expected
    with pytest.raises(MaskError, match="expected numbers and commas"):
        decode_cvat("1;3", 2, 3, of="x")


# --- images and their masks ---


def _image(path: Path, size: tuple[int, int] = (20, 12), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


def _masks(folder: Path, *names: str) -> Path:
    values = np.array([0, 1, 50, 60], np.uint8)
    for name in names:
        _png(folder / name, values[_mask()])
    return folder


def test_images_find_their_masks_by_name(tmp_path: Path) -> None:
    for name in ("a.jpg", "in/b.png", "c.jpg", "7.jpg"):
        _image(tmp_path / "images" / name)
    masks = _masks(tmp_path / "masks", "a.png", "in/b.png", "c.jpg.png", "00007.png", "other.png")

    pairs = masked_images(tmp_path / "images", masks, SCHEME)

    assert [pair.image.name for pair in pairs] == ["7.jpg", "a.jpg", "c.jpg", "b.png"]
    assert [pair.mask.name for pair in pairs] == ["00007.png", "a.png", "c.jpg.png", "in/b.png"]
    assert all((pair.read_mask() == _mask()).all() for pair in pairs)


def test_images_find_their_masks_in_one_file(tmp_path: Path) -> None:
    _image(tmp_path / "a.jpg")
    (tmp_path / "tasks.json").write_text(json.dumps([_task(), _task(image="s3://b/other.png")]))

    pairs = masked_images(tmp_path, tmp_path / "tasks.json", SCHEME)

    assert [pair.mask.name for pair in pairs] == ["/data/upload/1/0a1b2c3d-a.jpg"]
    assert (pairs[0].read_mask() == _mask()).all()


def test_what_does_not_fit_is_told_in_one_line(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", _masks(tmp_path / "masks", "a.png")
    _image(images / "a.jpg", (21, 12))

    with pytest.raises(MaskError, match=r"a.png, of image a.jpg: expected 21 x 12 .* got 20 x 12"):
        masked_images(images, masks, SCHEME)[0].read_mask()
    _image(images / "a.jpg", mode="L")
    with pytest.raises(MaskError, match=r"image .*a.jpg: one channel \(L\)"):
        masked_images(images, masks, SCHEME)
    _image(images / "a.jpg")
    _masks(masks, "a.jpg.png")
    with pytest.raises(MaskError, match=r"two masks for image a.jpg: mask .* and mask "):
        masked_images(images, masks, SCHEME)
    (masks / "a.jpg.png").unlink()
    _image(images / "b.jpg")
    with pytest.raises(MaskError, match=r"image b.jpg has no mask"):
        masked_images(images, masks, SCHEME)
    (images / "b.jpg").rename(images / "a.png")
    with pytest.raises(MaskError, match=r"it fits two images, a.jpg and a.png"):
        masked_images(images, masks, SCHEME)
    (images / "a.png").write_bytes(b"x")
    with pytest.raises(MaskError, match="not a readable picture"):
        masked_images(images, masks, SCHEME)
    (tmp_path / "none").mkdir()
    with pytest.raises(MaskError, match="no picture in it"):
        masked_images(tmp_path / "none", masks, SCHEME)
    _masks(masks, "z.png")
    with pytest.raises(MaskError, match=r"2 masks .*say of which image"):
        read_any_mask(masks, SCHEME)


def test_turned_photographs_have_the_size_that_people_see(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (12, 20)).save(tmp_path / "images" / "a.jpg", exif=exif)

    pair = masked_images(tmp_path / "images", _masks(tmp_path / "masks", "a.png"), SCHEME)[0]

    assert pair.read_mask().shape == (12, 20)
