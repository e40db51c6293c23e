"""Masks in YOLO's text files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.masks.forms.yolo import is_yolo
from editvec.registry.masks.sources import masked_images, open_masks, read_any_mask
from tests.support.mask_drawings import SCHEME, drawn_mask

_NAMES = "names: [eye_left, body, Right Eye]\n"
# shares of 20 x 12 pixels
_LINES = (
    "1 0.5 0.541667 0.9 0.75\n"
    "0 0.15 0.333333 0.35 0.333333 0.35 0.583333 0.15 0.583333\n\n"
    "2 0.6 0.333333 0.8 0.333333 0.8 0.583333 0.6 0.583333\n"
)


def _write(path: Path, text: str = _LINES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _photo(path: Path, *, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (20, 12) if orientation < 5 else (12, 20)).save(path, exif=exif)


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ("data.yaml", _NAMES),
        ("my-set.yml", "nc: 3\nnames: {0: eye_left, 1: body, 2: Right Eye}\n"),
        ("classes.txt", "eye_left\nbody\nRight Eye\n"),
    ],
)
@pytest.mark.parametrize(
    ("label", "picture", "name"),
    [
        ("a.txt", "a.jpg", "a.jpg"),
        ("labels/train/a.txt", "images/train/a.PNG", "train/a.PNG"),
        ("train/labels/a.txt", "train/images/a.jpeg", "train/a.jpeg"),
    ],
)
def test_lines_are_parts_of_the_picture_beside_them(
    tmp_path: Path, classes: str, text: str, label: str, picture: str, name: str
) -> None:
    _write(tmp_path / classes, text)
    _write(tmp_path / "other.yaml", "parts: [a]\n")
    path = _write(tmp_path / label)
    _write(path.with_name("b.txt"), "")
    _write(tmp_path / "README.txt", "0 of it is a label\n")
    for stem, orientation in (("a", 1), ("b", 6)):
        _photo((tmp_path / picture).with_stem(stem), orientation=orientation)

    found = open_masks(tmp_path, SCHEME, form="yolo" if picture.endswith("PNG") else None)

    assert [mask.name for mask in found] == [name, name.replace("a.", "b.")]
    assert (found[0].read() == drawn_mask()).all()
    assert (found[1].read() == np.zeros((12, 20))).all()  # nothing is drawn, and it is turned
    assert (read_any_mask(path, SCHEME) == drawn_mask()).all()


def test_size_comes_from_the_pictures_that_are_named(tmp_path: Path) -> None:
    _write(tmp_path / "set" / "data.yaml", _NAMES)
    _write(tmp_path / "set" / "labels" / "a.txt")
    _photo(tmp_path / "photos" / "deep" / "a.jpg")
    labels = tmp_path / "set" / "labels"

    with pytest.raises(MaskError, match=r"a.txt: it does not say how many pixels .*--images"):
        read_any_mask(labels, SCHEME)
    for images in (tmp_path / "photos", tmp_path / "photos" / "deep" / "a.jpg"):
        assert (read_any_mask(labels, SCHEME, images=images) == drawn_mask()).all()
    [pair] = masked_images(tmp_path / "photos", labels, SCHEME)
    assert (pair.read_mask() == drawn_mask()).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 0 0 1 0 1 1", r"a.txt, line 2: expected the number of a class, 0 \(eye_left\), .*'3'"),
        ("body 0 0 1 0 1 1", "line 2: expected the number of a class, .*'body'"),
        ("1 0 0 20 0 20 12", "line 2: expected shares of the picture, 0 to 1, got '20'"),
        ("1 0 0 nan 0 1 1", "line 2: expected shares of the picture"),
        ("1 0 0 1 0 1 1 0.9", "line 2: expected x and y of three corners .* got 7 numbers"),
        ("1 0 0", "line 2: .* got 2 numbers"),
    ],
)
def test_wrong_line_is_refused_for_its_picture_only(
    tmp_path: Path, line: str, message: str
) -> None:
    _write(tmp_path / "data.yaml", _NAMES)
    _write(tmp_path / "a.txt", f"1 0 0 1 0 1 1\n{line}\n")
    _write(tmp_path / "b.txt")
    for name in ("a.jpg", "b.jpg"):
        _photo(tmp_path / name)

    with pytest.raises(MaskError, match=message):
        read_any_mask(tmp_path, SCHEME, image="a.jpg")
    assert (read_any_mask(tmp_path, SCHEME, image="b.jpg") == drawn_mask()).all()


def test_classes_without_names_of_two_kinds_or_of_key_points_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "x" / "y" / "z"
    _write(folder / "a.txt")

    with pytest.raises(MaskError, match="nothing names the classes of YOLO"):
        open_masks(folder, SCHEME)
    for text, message in (
        ("names: 3\n", "names: expected a list of names"),
        ("names: [a\n", "not readable"),
        (f"{_NAMES}kpt_shape: [3, 2]\n", "key points, which cover no pixels"),
    ):
        _write(folder / "data.yaml", text)
        with pytest.raises(MaskError, match=message):
            open_masks(folder, SCHEME)
    _write(folder / "data.yaml", _NAMES)
    _write(folder / "classes.txt", "body\n")
    with pytest.raises(MaskError, match=r"classes.txt and .*data.yaml name different classes"):
        open_masks(folder, SCHEME)


@pytest.mark.parametrize(
    ("share", "is_share"), [("1.01", True), ("-0.01", True), ("1.011", False), ("-0.011", False)]
)
def test_shares_reach_a_hundredth_over_the_border(
    tmp_path: Path, share: str, is_share: bool
) -> None:
    _write(tmp_path / "data.yaml", _NAMES)
    _write(tmp_path / "a.txt", f"1 0 0 1 0 1 1\n1 0 0 {share} 0 0.5 1\n")
    _photo(tmp_path / "a.jpg")

    if is_share:
        assert (read_any_mask(tmp_path, SCHEME, image="a.jpg") >= 0).all()
    else:
        with pytest.raises(MaskError, match="line 2: expected shares of the picture"):
            read_any_mask(tmp_path, SCHEME, image="a.jpg")


def test_box_lies_straight_in_a_large_picture(tmp_path: Path) -> None:
    _write(tmp_path / "data.yaml", _NAMES)
    _write(tmp_path / "a.txt", "1 0.5 0.4 0.95 0.5\n")
    Image.new("RGB", (400, 300)).save(tmp_path / "a.jpg")
    expected = np.zeros((300, 400), int)
    expected[45:195, 10:390] = 1

    assert (read_any_mask(tmp_path, SCHEME, image="a.jpg") == expected).all()


@pytest.mark.parametrize("stem", ["classes", "train", "requirements", "Readme-first"])
def test_texts_of_other_kinds_are_no_labels(tmp_path: Path, stem: str) -> None:
    _write(tmp_path / "data.yaml", _NAMES)
    for name in ("a", stem):
        _write(tmp_path / f"{name}.txt", "body\n" if stem == name else _LINES)
        _photo(tmp_path / f"{name}.jpg")
    if stem == "classes":
        _write(tmp_path / "classes.txt", "eye_left\nbody\nRight Eye\n")

    assert [mask.name for mask in open_masks(tmp_path, SCHEME)] == ["a.jpg"]


def test_text_that_is_no_utf8_is_refused_for_its_picture_only(tmp_path: Path) -> None:
    _write(tmp_path / "data.yaml", _NAMES)
    _write(tmp_path / "b.txt")
    (tmp_path / "a.txt").write_bytes(_LINES.encode() + b"\xff")
    for name in ("a.jpg", "b.jpg"):
        _photo(tmp_path / name)

    with pytest.raises(MaskError, match=r"a\.txt: expected lines of numbers in UTF-8"):
        read_any_mask(tmp_path, SCHEME, image="a.jpg")
    assert (read_any_mask(tmp_path, SCHEME, image="b.jpg") == drawn_mask()).all()


def test_classes_are_found_two_folders_above_and_no_further(tmp_path: Path) -> None:
    _write(tmp_path / "data.yaml", _NAMES)
    near, far = tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"
    for folder in (near, far):
        _write(folder / "x.txt")
        _photo(folder / "x.jpg")

    assert (read_any_mask(near / "x.txt", SCHEME) == drawn_mask()).all()
    with pytest.raises(MaskError, match="nothing names the classes of YOLO"):
        open_masks(far, SCHEME)


@pytest.mark.parametrize("line", ["1 0 0 1 0 1 1", "1 0.5 0.5 1 1", "1 0.2 0 0 0.2 1 1"])
def test_regions_that_begin_at_the_border_are_seen_without_a_form(
    tmp_path: Path, line: str
) -> None:
    _write(tmp_path / "data.yaml", _NAMES)
    _write(tmp_path / "a.txt", f"{line}\n")
    _photo(tmp_path / "in" / "a.jpg")

    [mask] = open_masks(tmp_path, SCHEME, images=tmp_path / "in")

    assert (mask.read() == 1).any()


@pytest.mark.parametrize("line", ["1 0.2 0.3 0.4", "x 0.2 0.3 0.4 0.5", "1 0.2 0.3 7 0.5", ""])
def test_other_texts_are_not_taken_for_yolo_s(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"{line}\n")

    assert not is_yolo(tmp_path / "a.txt")
    assert not is_yolo(tmp_path / "nowhere.txt")
