"""Annotated images in the layouts of annotation tools."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.batch.quality.pairs import read_pairs
from editvec.registry.errors import MaskError
from editvec.registry.labels.files import parse_scheme

_SCHEME = parse_scheme("parts: [background, body]")
_NAMES = ("a", "b", "c", "d")


def _photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def _labelme(folder: Path) -> Path | None:
    shape = {"label": "body", "points": [[4, 8], [12, 16]], "shape_type": "rectangle"}
    for seed, name in enumerate(_NAMES):
        _photo(folder / f"{name}.png", seed)
        content = {"shapes": [shape][:seed], "imagePath": f"{name}.png"}
        content |= {"imageHeight": 16, "imageWidth": 16}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def _yolo(folder: Path) -> Path | None:
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text("names: [body]\n")
    for seed, name in enumerate(_NAMES):
        _photo(folder / "images" / f"{name}.png", seed)
        line = "0 0.25 0.5 0.75 0.5 0.75 1 0.25 1\n" if seed else ""
        (folder / "labels" / f"{name}.txt").write_text(line)
    return None


def _roboflow(folder: Path) -> Path | None:
    values = np.zeros((16, 16), np.uint8)
    (folder / "_classes.csv").write_text("Pixel Value, Class\n0, background\n7, body\n")
    for seed, name in enumerate(_NAMES):
        _photo(folder / f"{name}.jpg", seed)
        values[8:16, 4:12] = 7 if seed else 0
        Image.fromarray(values).save(folder / f"{name}_mask.png")
    return folder


@pytest.mark.parametrize("write", [_labelme, _yolo, _roboflow])
def test_layouts_of_tools_are_pairs(tmp_path: Path, write: Callable[[Path], Path | None]) -> None:
    masks = write(tmp_path)

    pairs = read_pairs(tmp_path, _SCHEME, resolution=16, fit="crop", masks=masks)

    assert [Path(name).stem for name in pairs.names] == list(_NAMES)
    expected = np.zeros((4, 16, 16))
    expected[1:, 8:16, 4:12] = 1  # the first is background
    assert (pairs.masks == expected).all()


def test_ignored_pixels_stay_ignored_and_a_mask_of_nothing_else_is_refused(tmp_path: Path) -> None:
    values = np.zeros((16, 32), np.uint8)
    values[8:, 8:] = 1
    values[:4] = 255
    for seed, name in enumerate(_NAMES):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (16, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / "masks" / f"{name}.png")

    pairs = read_pairs(tmp_path, _SCHEME, resolution=16, fit="crop")

    expected = np.where(values == 255, -1, values.astype(int))[:, 8:24]
    assert (pairs.masks == expected).all()
    values[:, 8:24] = 255
    Image.fromarray(values).save(tmp_path / "masks" / "c.png")
    with pytest.raises(
        MaskError, match=r"c\.png, as the generator sees it: every pixel is ignored"
    ):
        read_pairs(tmp_path, _SCHEME, resolution=16, fit="crop")
