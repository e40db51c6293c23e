"""Brushes: what is painted, and what is refused by name."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import NewVector, RoiPolicy
from editvec.registry.errors import MaskError, RecordError
from editvec.registry.library.library import Library
from editvec.registry.masks import brushes
from editvec.registry.masks.brushes import (
    check_brush,
    decode_brush,
    encode_brush,
    read_brush,
    union_of_brushes,
)


@pytest.fixture
def model(sqlite_library: Library) -> ClassModel:
    return sqlite_library.get_class()


def _painted(model: ClassModel) -> np.ndarray:
    painted = np.zeros((model.resolution, model.resolution), np.bool_)
    painted[1:3, 2:7] = True
    painted[-1, -1] = True
    return painted


def test_a_brush_is_an_index_png_and_every_index_but_0_paints(model: ClassModel) -> None:
    painted = _painted(model)
    image = Image.open(io.BytesIO(encode_brush(painted)))
    stream = io.BytesIO()
    Image.fromarray((painted * np.uint8(7)).astype(np.uint8)).save(stream, "PNG")

    assert (image.format, image.mode) == ("PNG", "L")
    assert (np.asarray(image) == painted).all()
    for data in (encode_brush(painted), stream.getvalue()):
        assert (decode_brush(data, model) == painted).all()
    assert encode_brush(painted.copy()) == encode_brush(painted)


def test_a_union_paints_where_one_of_them_does(model: ClassModel) -> None:
    one = _painted(model)
    other = np.zeros_like(one)
    other[0, 0] = True

    assert (decode_brush(union_of_brushes([one, other]), model) == (one | other)).all()
    assert union_of_brushes([one]) == encode_brush(one)


def test_brushes_that_are_none_are_refused(
    model: ClassModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode_brush(_painted(model))
    small = encode_brush(np.ones((4, 5), np.bool_))
    empty = encode_brush(np.zeros_like(_painted(model)))

    for wrong, message in (
        (small, r"x: expected \d+ x \d+ pixels, got 5 x 4"),
        (empty, "x: nothing is painted"),
        (b"no picture", "x: not a readable PNG"),
    ):
        with pytest.raises(MaskError, match=message):
            decode_brush(wrong, model, of="x")
    monkeypatch.setattr(brushes, "MAX_BRUSH_BYTES", len(data))
    decode_brush(data, model)
    monkeypatch.setattr(brushes, "MAX_BRUSH_BYTES", len(data) - 1)
    with pytest.raises(MaskError, match="brush: larger than 0 MiB"):
        decode_brush(data, model)


@pytest.mark.parametrize(
    ("policy", "has_brush", "message"),
    [
        (RoiPolicy.LABELS, False, None),
        (RoiPolicy.BRUSH, True, None),
        (RoiPolicy.UNION, True, None),
        (RoiPolicy.LABELS, True, "vector smile: ROI policy labels takes no brush"),
        (RoiPolicy.BRUSH, False, "vector smile: ROI policy brush needs a brush, got none"),
        (RoiPolicy.UNION, False, "vector smile: ROI policy union needs a brush, got none"),
    ],
)
def test_a_brush_belongs_to_its_policies(
    model: ClassModel, policy: RoiPolicy, has_brush: bool, message: str | None
) -> None:
    new = NewVector(class_name=model.name, name="smile", roi_labels=(), roi_policy=policy)
    data = encode_brush(_painted(model)) if has_brush else None

    if message is None:
        check_brush(new, data, model)
    else:
        with pytest.raises(RecordError, match=message):
            check_brush(new, data, model)
    if has_brush and message is None:
        with pytest.raises(MaskError, match="brush of smile: nothing is painted"):
            check_brush(new, encode_brush(np.zeros_like(_painted(model))), model)


def test_a_file_of_colours_is_no_brush(tmp_path: Path, model: ClassModel) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode_brush(_painted(model)))
    assert read_brush(path) == path.read_bytes()

    two = Image.new("RGB", (4, 4), (255, 0, 0))
    two.paste((0, 0, 255), (0, 0, 2, 2))
    two.save(path)
    with pytest.raises(MaskError, match=r"brush .*#0000ff and colour #ff0000, neither of them"):
        read_brush(path)
