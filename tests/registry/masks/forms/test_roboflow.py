"""Masks in Roboflow's folders of semantic segmentation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.labels.files import parse_scheme
from editvec.registry.masks.sources import masked_images, open_masks, read_any_mask
from tests.support.mask_drawings import SCHEME, drawn_mask, write_png

_CLASSES = "Pixel Value, Class\n0, background\n3, body\n1, eye-left\n2, Right Eye\n"
_VALUES = np.array([0, 3, 1, 2], np.uint8)


def _export(folder: Path, *, classes: str = _CLASSES) -> Path:
    write_png(folder / "ada_jpg.rf.0123_mask.png", _VALUES[drawn_mask()])
    Image.new("RGB", (20, 12)).save(folder / "ada_jpg.rf.0123.jpg")
    (folder / "_classes.csv").write_text(classes)
    return folder


def test_values_mean_what_the_list_of_classes_says(tmp_path: Path) -> None:
    _export(tmp_path / "set" / "train")
    _export(tmp_path / "set" / "valid")

    found = open_masks(tmp_path / "set", SCHEME)

    names = ["train/ada_jpg.rf.0123.jpg", "valid/ada_jpg.rf.0123.jpg"]
    assert [mask.name for mask in found] == names
    assert all((mask.read() == drawn_mask()).all() for mask in found)
    one = tmp_path / "set" / "train" / "ada_jpg.rf.0123_mask.png"
    assert (read_any_mask(one, SCHEME) == drawn_mask()).all()


def test_masks_beside_their_images_are_no_images(tmp_path: Path) -> None:
    _export(tmp_path)

    [pair] = masked_images(tmp_path, tmp_path, SCHEME)

    assert pair.image.name == "ada_jpg.rf.0123.jpg"
    assert (pair.read_mask() == drawn_mask()).all()


def test_background_is_the_first_part_whatever_its_name(tmp_path: Path) -> None:
    scheme = parse_scheme("parts: [nothing, body, eye_left, right_eye]")

    assert (read_any_mask(_export(tmp_path), scheme) == drawn_mask()).all()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (_CLASSES.replace("3, body\n", ""), r"value 3 at row 2, column 1 is not in _classes.csv"),
        (_CLASSES.replace("body", "wing"), "value 3 at row 2, column 1 is 'wing': none of"),
        (_CLASSES + "3, eye-left\n", "line 6: the value 3 is given twice"),
        (_CLASSES + "x, eye-left\n", "line 6: expected a value and a name"),
        (_CLASSES + "3, body, red\n", "line 6: expected a value and a name"),
        (_CLASSES + "-1, body\n", "line 6: expected a value and a name"),
        ("filename, body\nx.jpg, 1\n", "value 2 at row 4, column 12 is none of the scheme"),
    ],
)
def test_wrong_classes_are_refused(tmp_path: Path, classes: str, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        read_any_mask(_export(tmp_path, classes=classes), SCHEME)


@pytest.mark.parametrize(
    "classes", [b"Pixel Value, Class\n0, h\xe4nd\n", b"Pixel Value, Class\n0, " + b"x" * 200_000]
)
def test_list_of_classes_that_is_no_csv_is_refused(tmp_path: Path, classes: bytes) -> None:
    (_export(tmp_path) / "_classes.csv").write_bytes(classes)

    with pytest.raises(MaskError, match=r"classes .*_classes\.csv: expected CSV in UTF-8"):
        read_any_mask(tmp_path, SCHEME)


def test_classes_that_come_twice_with_one_name_empty_lines_and_a_byte_order_mark_are_fine(
    tmp_path: Path,
) -> None:
    classes = f"\ufeff{_CLASSES.replace('Pixel Value, Class', 'PIXEL VALUE,class')}\n3, body\n"
    (_export(tmp_path) / "_classes.csv").write_text(classes, encoding="utf-8")

    assert (read_any_mask(tmp_path, SCHEME) == drawn_mask()).all()


def test_only_value_0_may_be_a_background_that_the_scheme_does_not_know(tmp_path: Path) -> None:
    scheme = parse_scheme("parts: [nothing, body, eye_left, right_eye]")
    _export(tmp_path, classes=_CLASSES.replace("3, body", "3, background"))

    with pytest.raises(MaskError, match="value 3 at row 2, column 1 is 'background': none of"):
        read_any_mask(tmp_path, scheme)
    _export(tmp_path, classes=_CLASSES.replace("0, background", "0, sky"))
    with pytest.raises(MaskError, match="value 0 at row 0, column 0 is 'sky': none of"):
        read_any_mask(tmp_path, scheme)


def test_colours_are_no_values_of_the_list(tmp_path: Path) -> None:
    path = _export(tmp_path) / "ada_jpg.rf.0123_mask.png"
    Image.new("RGB", (20, 12)).save(path)

    with pytest.raises(MaskError, match=r"mode RGB holds colours, not the values of"):
        read_any_mask(tmp_path, SCHEME)


def test_list_counts_for_its_own_folder_only(tmp_path: Path) -> None:
    _export(tmp_path / "train")
    swapped = _CLASSES.replace("1, eye-left", "1, Right Eye").replace("2, Right Eye", "2, eye-left")
    _export(tmp_path / "valid", classes=swapped)

    train, valid = open_masks(tmp_path, SCHEME)

    assert (train.read() == drawn_mask()).all()
    assert (valid.read() == np.array([0, 1, 3, 2])[drawn_mask()]).all()
