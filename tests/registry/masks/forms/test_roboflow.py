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
        ("filename, body\nx.jpg, 1\n", "value 2 at row 4, column 12 is none of the scheme"),
    ],
)
def test_wrong_classes_are_refused(tmp_path: Path, classes: str, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        read_any_mask(_export(tmp_path, classes=classes), SCHEME)
