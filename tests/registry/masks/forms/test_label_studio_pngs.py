"""Masks in Label Studio's export of brushes as PNGs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from editvec.registry.errors import MaskError
from editvec.registry.labels.files import parse_scheme
from editvec.registry.masks.forms.label_studio_pngs import is_brush_export
from editvec.registry.masks.sources import open_masks, read_any_mask
from tests.support.mask_drawings import (
    SCHEME,
    drawn_mask,
    label_studio_task,
    unsplit_mask,
    write_png,
)


def _brush(folder: Path, name: str, inside: npt.NDArray[Any], task: int = 7) -> Path:
    path = folder / f"task-{task}-annotation-{task + 1}-by-me@x.org-{name}.png"
    return write_png(path, np.where(inside, 255, 0).astype(np.uint8))


def test_labels_of_a_task_are_one_mask(tmp_path: Path) -> None:
    _brush(tmp_path, "tag-body-0", drawn_mask() > 0)
    _brush(tmp_path, "tag-eye_left-0", np.indices((12, 20))[1] < 4)
    _brush(tmp_path, "tag-Right Eye-0", drawn_mask() == 3)
    _brush(tmp_path, "tag-eye_left-1", drawn_mask() == 2)
    _brush(tmp_path, "tag-eye-0", unsplit_mask() == 4, task=12)

    found = open_masks(tmp_path, SCHEME)

    assert [mask.name for mask in found] == ["task-12", "task-7"]
    left = (drawn_mask() == 2) | (np.indices((12, 20))[1] < 4)
    assert (found[1].read() == np.where(left, 2, drawn_mask())).all()
    assert (found[0].read() == np.where(drawn_mask() > 1, drawn_mask(), 0)).all()


def test_export_as_json_names_the_pictures(tmp_path: Path) -> None:
    _brush(tmp_path, "tag-body-0", drawn_mask() > 0)
    (tmp_path / "tasks.json").write_text(json.dumps([label_studio_task()]))

    read = read_any_mask(tmp_path, SCHEME, image="a.jpg")

    assert (read == (drawn_mask() > 0)).all()


def test_label_is_what_follows_the_control_that_all_files_have(tmp_path: Path) -> None:
    scheme = parse_scheme("parts: [background, eye, left-eye, nose]")
    _brush(tmp_path, "a-tag-left-eye-0", drawn_mask() == 2)
    _brush(tmp_path, "a-tag-nose-0", drawn_mask() == 3)

    read = read_any_mask(tmp_path, scheme)

    assert (read == np.where(drawn_mask() < 2, 0, drawn_mask())).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["tag-left-eye-0"], "can be read in several ways"),
        (["tag-nose-eye-0"], "can be read in several ways"),
        (["tag-nose-eye-0", "tag-nose-0"], "'tag-nose-eye' ends with none of the parts"),
        (["tag-wing-0"], "'tag-wing' ends with none of the parts"),
        (["tag-no_label-0"], "ends with none of the parts"),
    ],
)
def test_label_that_is_not_certain_is_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    scheme = parse_scheme("parts: [background, eye, left-eye, nose]")
    for name in names:
        _brush(tmp_path, name, drawn_mask() > 0)

    with pytest.raises(MaskError, match=message):
        read_any_mask(tmp_path, scheme)


def test_two_annotations_of_one_task_are_two_masks(tmp_path: Path) -> None:
    path = _brush(tmp_path, "tag-body-0", drawn_mask() > 0)
    path.with_name(path.name.replace("annotation-8", "annotation-9")).write_bytes(path.read_bytes())

    with pytest.raises(MaskError, match="two masks for image task-7"):
        read_any_mask(tmp_path, SCHEME, image="task-7")


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_colours_of_a_brush_count_not_its_palette(tmp_path: Path, mode: str) -> None:
    body = _brush(tmp_path, "tag-body-0", drawn_mask() > 0)
    void = _brush(tmp_path, "tag-void-0", drawn_mask() == 2)
    for path, inside in ((body, drawn_mask() > 0), (void, drawn_mask() == 2)):
        image = Image.fromarray((~inside).astype(np.uint8))
        image.putpalette([255, 255, 255, 0, 0, 0])
        image.convert(mode).save(path)

    read = read_any_mask(tmp_path, SCHEME)

    assert (read == np.select([drawn_mask() == 2, drawn_mask() > 0], [-1, 1])).all()
    image.putpalette([255, 0, 0, 0, 0, 0])
    image.save(void)
    with pytest.raises(MaskError, match="expected a grey PNG of one label, got colours"):
        read_any_mask(tmp_path, SCHEME)


def test_a_brush_covers_what_is_at_least_half_opaque(tmp_path: Path) -> None:
    values = np.array([[0, 127, 128, 255]], np.uint8)
    write_png(tmp_path / "task-1-annotation-1-by-1-tag-body-0.png", values)

    assert read_any_mask(tmp_path, SCHEME).tolist() == [[0, 0, 1, 1]]


def test_brushes_of_two_sizes_or_of_colours_are_refused(tmp_path: Path) -> None:
    _brush(tmp_path / "sizes", "tag-body-0", np.ones((4, 6), np.bool_))
    _brush(tmp_path / "sizes", "tag-eye_left-0", np.ones((4, 5), np.bool_))
    colors = np.full((4, 6, 3), (255, 0, 0), np.uint8)
    write_png(tmp_path / "colors" / "task-1-annotation-1-by-1-tag-body-0.png", colors)

    with pytest.raises(MaskError, match=r"eye_left-0\.png: expected 6 x 4 pixels, got 5 x 4"):
        read_any_mask(tmp_path / "sizes", SCHEME)
    with pytest.raises(MaskError, match="expected a grey PNG of one label, got colours"):
        read_any_mask(tmp_path / "colors", SCHEME)


def test_a_folder_with_one_other_png_is_no_export(tmp_path: Path) -> None:
    _brush(tmp_path, "tag-body-0", drawn_mask() > 0)
    write_png(tmp_path / "other.png", drawn_mask().astype(np.uint8))

    assert not is_brush_export(sorted(tmp_path.glob("*.png")))
    assert is_brush_export(sorted(tmp_path.glob("task*.png")))
    assert not is_brush_export([])


def test_tasks_without_one_picture_are_called_by_their_number(tmp_path: Path) -> None:
    _brush(tmp_path, "tag-body-0", drawn_mask() > 0)
    _brush(tmp_path, "tag-body-0", drawn_mask() > 0, task=8)
    two = {"id": 7, "data": {"image": "a.jpg", "other": "b.jpg"}, "annotations": []}
    none = {"id": "8", "data": {"image": "c.jpg"}, "annotations": []}
    (tmp_path / "tasks.json").write_text(json.dumps([two, none]))
    (tmp_path / "notes.json").write_text("{}")

    assert [mask.name for mask in open_masks(tmp_path, SCHEME)] == ["task-7", "task-8"]
