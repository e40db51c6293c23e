"""A small mask, its scheme and what annotation tools say of it, which many tests of masks read."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.registry.labels.files import parse_scheme
from editvec.registry.masks.png import MaskArray

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


def drawn_mask() -> MaskArray:
    mask = np.zeros((12, 20), np.int32)
    mask[2:11, 1:19] = 1
    mask[4:7, 3:7] = 2
    mask[4:7, 12:16] = 3
    return mask


def unsplit_mask() -> MaskArray:
    """As an annotator leaves it who only knows `eye`: 4 stands for the split."""
    return np.where(drawn_mask() >= 2, 4, drawn_mask())


def write_png(path: Path, pixels: npt.NDArray[Any], mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path) if mode is None else Image.fromarray(pixels, mode).save(path)
    return path


def percent(top: int, left: int, bottom: int, right: int) -> list[list[float]]:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [[100 * x / 20, 100 * y / 12] for x, y in corners]


def result(value: dict[str, Any]) -> dict[str, Any]:
    return {"value": value, "original_width": 20, "original_height": 12, "type": "x"}


def label_studio_task(
    *, image: str = "/data/upload/1/0a1b2c3d-a.jpg", **annotation: Any
) -> dict[str, Any]:
    body = result({"points": percent(2, 1, 11, 19), "polygonlabels": ["body"]})
    left = result({"points": percent(4, 3, 7, 7), "closed": True, "polygonlabels": ["eye_left"]})
    right = {"x": 60, "y": 100 / 3, "width": 20, "height": 25, "rotation": 0}
    right = result({**right, "rectanglelabels": ["Right Eye"]})
    choice = {"value": {"choices": ["good"]}, "type": "choices"}
    return {
        "id": 7,
        "data": {"image": image},
        "annotations": [{"result": [choice, body, left, right], **annotation}],
    }
