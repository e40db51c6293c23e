"""What is measured of an edit: by plain sums over the pixels of a region that the test draws."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from editvec.batch.editing.measuring import (
    leakage_rows,
    number,
    perceptual_value,
    rows_beyond,
    success_rows,
    uncertainty_rows,
)
from editvec.batch.recipes.settings import Composite
from editvec.engine.editor import Editor
from editvec.registry.entities.vectors import NewVector
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, pixels, request, rows

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
LABELS = ("background", "skin", "hair", "eye", "mouth", "teeth")  # of class `tiny`


@pytest.fixture(scope="module")
def editor(tiny_bundle: Path) -> Editor:
    return Editor.open(tiny_bundle)


def decibels(image: Floats, reference: Floats, counted: Bools) -> float:
    """PSNR over the counted pixels; images [3, H, W] in [-1, 1]."""
    difference = (image.astype(np.float64) - reference)[:, counted] / 2
    return -10 * math.log10((difference**2).mean())


def drawn_case() -> tuple[Tensor, Tensor, Tensor]:
    """Edited images beyond the range, what they were before, and a region at two borders."""
    random = np.random.default_rng(0)
    before = random.uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)
    roi = np.zeros((2, 1, 32, 32), bool)
    roi[0, 0, 8:30, 5:32] = True
    roi[1, 0, 0:4, 0:20] = True
    leaked = random.normal(0, [[[[0.02]]], [[[0.3]]]], before.shape)
    edited = np.where(roi, -before, before + leaked).astype(np.float32)
    edited[:, :, 31, 0] = [[-4, 3, -2], [5, -6, 7]]  # outside both regions
    return torch.from_numpy(edited), torch.from_numpy(before), torch.from_numpy(roi)


def test_leakage_is_the_change_of_the_pixels_outside_the_region(editor: Editor) -> None:
    edited, before, roi = drawn_case()

    measured = leakage_rows(editor, edited, before, roi, with_perceptual=True)

    name = editor.perceptual.name
    shown = np.clip(edited.numpy(), -1, 1)  # a file holds no more
    for place, row in enumerate(measured):
        outside = ~roi[place, 0].numpy()
        assert list(row) == ["psnr", name]
        expected = decibels(shown[place], before[place].numpy(), outside)
        assert row["psnr"] == pytest.approx(expected, abs=1e-4)
        # the region is black in both
        seen, was = ((one + 1) / 2 * outside for one in (shown[place], before[place].numpy()))
        with torch.no_grad():
            distance = editor.perceptual(torch.from_numpy(seen)[None], torch.from_numpy(was)[None])
        assert row[name] == pytest.approx(float(distance), abs=2e-6)
        assert float(distance) > 1e-4


def test_leakage_without_a_perceptual_distance_is_the_ratio_alone(editor: Editor) -> None:
    edited, before, roi = drawn_case()

    alone = leakage_rows(editor, edited, before, roi, with_perceptual=False)

    whole = leakage_rows(editor, edited, before, roi, with_perceptual=True)
    assert alone == [{"psnr": row["psnr"]} for row in whole]


def test_a_change_inside_the_region_alone_leaks_nothing(editor: Editor) -> None:
    _, before, roi = drawn_case()

    rows = leakage_rows(
        editor, torch.where(roi, -before, before), before, roi, with_perceptual=True
    )

    assert [row["psnr"] for row in rows] == [None, None]  # infinite
    assert [perceptual_value(row) for row in rows] == pytest.approx([0, 0], abs=1e-6)


def test_success_is_counted_in_the_region_and_in_the_wanted_parts(editor: Editor) -> None:
    random = np.random.default_rng(1)
    mask, wanted = random.integers(0, len(LABELS), (2, 2, 32, 32))
    roi = random.random((2, 1, 32, 32)) < 0.5
    parts = ("mouth", "hair")

    found = success_rows(editor, *map(torch.from_numpy, (mask, wanted, roi)), parts)

    for place, value in enumerate(found):
        ious = []
        for part in parts:
            one, other = (
                (labels[place] == LABELS.index(part)) & roi[place, 0] for labels in (mask, wanted)
            )
            ious.append((one & other).sum() / (one | other).sum())
        assert value == pytest.approx(np.mean(ious), abs=1e-6)


def test_uncertainty_is_the_mean_of_the_tenth_that_is_highest() -> None:
    uncertainty = np.random.default_rng(2).uniform(0, 0.7, (3, 20, 30))
    uncertainty[1, 0, 0] = np.nan

    found = uncertainty_rows(torch.from_numpy(uncertainty))

    for place in (0, 2):
        highest = sorted(uncertainty[place].ravel().tolist())[-60:]
        assert found[place] == pytest.approx(np.mean(highest), abs=1e-6)
    assert found[1] is None


def test_what_is_at_the_bound_is_not_beyond_it_and_what_is_no_number_is() -> None:
    values: Sequence[dict[str, float | None]] = [
        {"psnr": 40.0, "perceptual/tiny": 0.25},
        {"psnr": 40.0, "perceptual/tiny": 0.250001},
        {"psnr": 0.1, "lpips/vgg": 0.2},
        {"psnr": None, "lpips/vgg": None},
        {"psnr": 40.0},
    ]

    assert rows_beyond(values, 0.25).tolist() == [1, 3, 4]


def test_numbers_that_json_lacks_are_none() -> None:
    assert [number(one) for one in (0.12345678, math.inf, -math.inf, math.nan)] == [
        0.123457, None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("dilation", [0, 1, 3])
def test_a_run_measures_what_its_files_show(
    library: Library, tmp_path: Path, dilation: int
) -> None:
    """Pixels, masks and region of a run without compositing, from its own files."""
    out, model = tmp_path / "out", library.get_class("tiny")
    delta = np.random.default_rng(5).normal(size=(model.num_ws, model.w_dim)).astype(np.float32)
    library.add_vector(
        NewVector(class_name="tiny", name="grin", roi_labels=("mouth", "teeth"), dilation=dilation),
        delta,
    )

    do(library, request(None, out, "grin=0:1:2", count=3, composite=Composite.NONE))

    made = {(row["source"], row["recipe"]): row for row in rows(out)}
    sources = {source for source, _ in made}
    assert len(sources) == 3
    for source in sources:
        before, after = (made[source, recipe] for recipe in ("grin+0.00", "grin+1.00"))
        parts = [LABELS.index("mouth"), LABELS.index("teeth")]
        region = np.zeros((32, 32), bool)
        for row in (before, after):
            region |= np.isin(pixels(out / row["mask_file_name"]), parts)
        if dilation:
            square = np.ones((2 * dilation + 1, 2 * dilation + 1))
            region = scipy.ndimage.binary_dilation(region, square)
        was, shown = (
            pixels(out / row["file_name"]).transpose(2, 0, 1) / 127.5 - 1 for row in (before, after)
        )
        assert 0 < (~region).mean() < 1
        expected = decibels(shown, was, ~region)
        # files hold 256 levels
        assert after["metrics"]["leakage"]["psnr"] == pytest.approx(expected, abs=0.05)
        inside = decibels(shown, was, region)
        assert abs(expected - inside) > 0.2  # so that the two cannot be mistaken for each other
