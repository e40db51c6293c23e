"""Previews of vectors of the class `tiny`: read back pixel by pixel, and through the command."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import editvec.cli
from editvec.batch.errors import PlanError, SettingsError
from editvec.batch.previews.preview import MAX_SCALES, preview_vector
from editvec.batch.previews.probes import PreviewProbes
from editvec.batch.previews.sheet import CHANGE_SHOWN, SIDE, Cell, ProbeRow, draw_preview
from editvec.batch.workbench import Workbench
from editvec.engine.editor import Editor
from editvec.engine.errors import ImageError
from editvec.engine.images.compositing import composite
from editvec.engine.images.images import to_pixels
from editvec.registry.config import RegistryConfig
from editvec.registry.drawing import ACCENT, LINE, fitted
from editvec.registry.entities.vectors import (
    LatentSpace,
    NewTerm,
    NewVector,
    RoiPolicy,
    VectorParcel,
)
from editvec.registry.masks.brushes import encode_brush

Panel = npt.NDArray[np.uint8]

_LEFT, _TOP = 36, 36 + 92 + 34 + 22
_COLUMN = SIDE + 14
_INSET = (SIDE - 6) // 2
_ROW = 22 + SIDE + 6 + _INSET + 18


@pytest.fixture
def bench(home: Path) -> Iterator[Workbench]:
    """The library with class `tiny`, `smile` and `frown`."""
    with Workbench.open(RegistryConfig.for_home(home), device="cpu") as opened:
        yield opened


def _sheet(png: bytes) -> Panel:
    return np.asarray(Image.open(io.BytesIO(png)))


def _picture(sheet: Panel, row: int, column: int) -> Panel:
    top, left = _TOP + row * _ROW, _LEFT + column * _COLUMN
    return sheet[top : top + SIDE, left : left + SIDE]


def _insets(sheet: Panel, row: int, column: int) -> tuple[Panel, Panel]:
    """The mask and the change below a picture."""
    top, left = _TOP + row * _ROW + SIDE + 6, _LEFT + column * _COLUMN
    mask, change = (sheet[top : top + _INSET, x : x + _INSET] for x in (left, left + _INSET + 6))
    return mask, change


def _inner(panel: Panel) -> Panel:
    """Without the round corners."""
    return panel[8:-8, 8:-8]


def _preview(bench: Workbench, name: str = "smile", **options: object) -> bytes:
    vector = bench.library.get_vector(name)
    return preview_vector(bench.library, bench.editor_for(vector.address), vector, **options)  # type: ignore[arg-type]


def test_pictures_are_those_of_a_run_with_default_settings(bench: Workbench) -> None:
    vector = bench.library.get_vector("smile")
    editor = bench.editor_for(vector.address)

    sheet = _sheet(_preview(bench, scales=(-1.0, 1.5), probes=PreviewProbes(count=2, seed=7)))

    ws = editor.sample(2, 7)
    delta = torch.as_tensor(bench.library.delta(vector))
    before = editor.synthesize_with_mask(ws)
    for column, scale in enumerate((-1.0, 1.5)):
        after = editor.synthesize_with_mask(ws + scale * delta)
        roi = editor.roi(before.mask, after.mask, vector.roi_labels, vector.dilation)
        pixels = to_pixels(composite(before.images.clamp(-1, 1), after.images, roi))
        for row in range(2):
            expected = np.asarray(fitted(Image.fromarray(pixels[row]), SIDE))
            shown = _inner(_picture(sheet, row, column)).astype(int)
            assert np.abs(shown - _inner(expected)).max() <= 2


def test_unedited_column_shows_no_change(bench: Workbench) -> None:
    sheet = _sheet(_preview(bench, scales=(0.0, 2.0), probes=PreviewProbes(count=1)))

    still, moved = (_inner(_insets(sheet, 0, column)[1]) for column in (0, 1))
    without_outline = still[(still != ACCENT).any(axis=-1)]

    assert np.unique(without_outline, axis=0).tolist() == [[244, 245, 249]]
    assert len(np.unique(moved.reshape(-1, 3), axis=0)) > 20


def test_masks_have_the_colours_of_the_scheme(bench: Workbench) -> None:
    colors = {label.color for label in bench.library.get_class("tiny").labels}

    mask, _ = _insets(_sheet(_preview(bench, probes=PreviewProbes(count=1))), 0, 2)

    found, counts = np.unique(mask.reshape(-1, 3), axis=0, return_counts=True)
    pure = sum(int(count) for color, count in zip(found, counts, strict=True)
               if tuple(int(value) for value in color) in colors)  # fmt: skip
    assert pure > mask.shape[0] * mask.shape[1] / 4, "pixels between two parts are mixed"


def test_equal_arguments_give_equal_bytes(bench: Workbench) -> None:
    first = _preview(bench, probes=PreviewProbes(count=2))

    assert _preview(bench, probes=PreviewProbes(count=2)) == first
    assert _preview(bench, probes=PreviewProbes(count=2, seed=1)) != first


def test_every_probe_is_one_synthesis_of_all_scales(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    synthesize = Editor.synthesize_with_mask

    def counting(self: Editor, ws: torch.Tensor) -> object:
        sizes.append(len(ws))
        return synthesize(self, ws)

    monkeypatch.setattr(Editor, "synthesize_with_mask", counting)

    _preview(bench, probes=PreviewProbes(count=3), scales=(-1.0, 0.0, 1.0))

    assert sizes == [4, 4, 4], "the reconstruction and three scales"


def test_images_of_a_folder_are_embedded_and_keep_their_pixels(
    bench: Workbench, make_pictures: Callable[..., Path]
) -> None:
    folder = make_pictures(names=("b.png", "a.png", "c.png"))

    png = _preview(bench, probes=PreviewProbes(count=2, folder=folder), scales=(0.0, 1.0))

    sheet = _sheet(png)
    assert sheet.shape[0] == _sheet(_preview(bench, probes=PreviewProbes(count=2))).shape[0]
    own = np.asarray(fitted(Image.open(folder / "a.png"), SIDE)).astype(int)
    outside = np.abs(_picture(sheet, 0, 1).astype(int) - own).max(axis=-1) <= 2
    assert outside.mean() > 0.1, "outside the ROI the image's own pixels are shown"


def test_image_that_cannot_be_read_is_named(bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")

    with pytest.raises(ImageError, match=r"bad\.png"):
        _preview(bench, probes=PreviewProbes(folder=tmp_path / "in"))
    with pytest.raises(PlanError, match="no image under"):
        _preview(bench, probes=PreviewProbes(folder=tmp_path / "home"))


def test_composed_vector_has_a_preview(bench: Workbench) -> None:
    terms = [NewTerm(address="smile", scale=0.5), NewTerm(address="frown", scale=-0.25)]
    bench.library.compose("tiny/mixed", terms)

    assert _preview(bench, "mixed").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("space", "columns"), [(LatentSpace.Z, 8), (LatentSpace.S, 40)], ids=["Z", "S"]
)
def test_vector_of_another_space_is_refused(
    bench: Workbench, space: LatentSpace, columns: int
) -> None:
    delta = np.ones((1, columns), np.float32)
    new = NewVector(
        class_name="tiny",
        name="foreign",
        roi_labels=("mouth",),
        latent_space=space,
        kind="imported",
        row_mask=(True,),
    )
    bench.library.add_vectors([VectorParcel(new=new, delta=delta)])

    line = rf"preview: tiny/foreign@1 lives in space {space.value}; only vectors of W and W\+"
    with pytest.raises(SettingsError, match=line):
        _preview(bench, "foreign")


def test_brush_says_what_may_change(bench: Workbench) -> None:
    painted = np.zeros((32, 32), bool)
    painted[4:12, 4:28] = True
    new = NewVector(
        class_name="tiny", name="painted", roi_labels=(), roi_policy=RoiPolicy.BRUSH, dilation=0
    )
    delta = bench.library.delta(bench.library.get_vector("smile"))
    parcel = VectorParcel(new=new, delta=delta, brush_png=encode_brush(painted))
    bench.library.add_vectors([parcel])

    _, change = _insets(
        _sheet(_preview(bench, "painted", probes=PreviewProbes(count=1), scales=(1.0,))), 0, 0
    )

    outline = np.argwhere((change == ACCENT).all(axis=-1)) / change.shape[0] * 32
    assert outline.min(axis=0) == pytest.approx([4, 4], abs=0.5)
    assert outline.max(axis=0) == pytest.approx([12, 28], abs=0.5)


def test_too_many_probes_or_scales_are_refused(bench: Workbench) -> None:
    with pytest.raises(SettingsError, match="count: expected 1 to 32, got 33"):
        PreviewProbes(count=33)
    with pytest.raises(SettingsError, match="seed: expected at least 0, got -1"):
        PreviewProbes(seed=-1)
    with pytest.raises(SettingsError, match=f"scales: expected 1 to {MAX_SCALES}, got 0"):
        _preview(bench, scales=())


def test_usable_scales_are_marked(bench: Workbench) -> None:
    vector = replace(bench.library.get_vector("smile"), scale_min=-1.0, scale_max=1.0)
    labels = bench.library.get_class("tiny").labels
    square = np.zeros((32, 32), int)
    cell = Cell(
        np.zeros((32, 32, 3), np.uint8),
        square,
        np.zeros((32, 32), bool),
        np.full((32, 32), CHANGE_SHOWN, np.float32),
    )
    scales = (-2.0, -1.0, 0.5)

    sheet = np.asarray(
        draw_preview(vector, labels, scales, [ProbeRow("probe", [cell] * 3)], caption="")
    )

    bar = 36 + 92 + 25
    marks = [tuple(sheet[bar, _LEFT + column * _COLUMN + SIDE // 2]) for column in range(3)]
    assert marks == [LINE, ACCENT, ACCENT]
    darkest = _inner(_insets(sheet, 0, 0)[1])
    assert np.unique(darkest.reshape(-1, 3), axis=0).tolist() == [[96, 12, 54]]


# --- the command ---


def test_command_keeps_the_preview_with_the_vector(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> str:
        assert editvec.cli.main(["--home", str(home), "registry", *map(str, words)]) == 0
        return capsys.readouterr().out

    made = run(
        "preview", "smile", "--count", 1, "--scales", "-1:1:3", "--output", tmp_path / "a.png"
    )
    record = json.loads(run("show", "smile", "--json"))
    run("show", "smile", "--preview", tmp_path / "b.png")

    assert made == f"tiny/smile@1: preview {tmp_path / 'a.png'}\n"
    assert Path(record["preview"]).read_bytes() == (tmp_path / "a.png").read_bytes()
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    assert record["preview"] in run("show", "smile")
    again = json.loads(run("preview", "smile", "--count", 1, "--scales", "-1:1:3", "--json"))
    assert again == {"address": "tiny/smile@1", "preview": record["preview"]}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("smile", "--scales", "1:2"), "a sweep is FIRST:LAST:COUNT, got '1:2'"),
        (("smile", "--scales", "-2:2:40"), f"scales: expected 1 to {MAX_SCALES}, got 40"),
        (("smile", "--probe", "no-such-folder"), "input folder: cannot list no-such-folder"),
        (
            ("smile", "--output", "no-such-folder/a.png", "--count", "1"),
            "its folder does not exist",
        ),
        (("smile", "--device", "abacus"), "device: cannot use 'abacus'"),
        (("grin",), "no vector"),
    ],
)
def test_command_refuses_in_one_line(
    words: tuple[str, ...], line: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert editvec.cli.main(["--home", str(home), "registry", "preview", *words]) == 1

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert line in error
