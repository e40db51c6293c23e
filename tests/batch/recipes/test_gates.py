"""Gates: what is beyond a bound is rejected with its numbers, or refined as asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editvec.batch.editing.gate import rejection
from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import Mode, RunSettings
from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library
from editvec.registry.masks.png import encode_mask

MakePictures = Callable[..., Path]
Editvec = Callable[..., int]


def rows(out: Path, name: str = "metadata.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def leaked(row: dict[str, Any]) -> float:
    (value,) = [value for name, value in row["metrics"]["leakage"].items() if name != "psnr"]
    assert isinstance(value, float)
    return value


@pytest.fixture
def measured(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path
) -> tuple[Path, list[float]]:
    """A folder of pictures, and what an edit of each leaks."""
    source, out = make_pictures(6), tmp_path / "measured"
    words = ("--edit", "smile=1", "--max-leakage", "1000")
    assert run_editvec("batch", "run", source, out, *words) == 0
    return source, [leaked(row) for row in rows(out)]


def test_what_leaks_beyond_the_bound_is_rejected_with_its_number(
    run_editvec: Editvec,
    measured: tuple[Path, list[float]],
    tmp_path: Path,
    library: Library,
) -> None:
    source, values = measured
    bound = sorted(values)[2] + 1e-9
    out = tmp_path / "out"

    words = ("--edit", "smile=1", "--max-leakage", f"{bound:.9f}")
    assert run_editvec("batch", "run", source, out, *words) == 0  # a rejection is no failure

    (run,) = Runs(library.engine).latest(limit=1)
    counts = Runs(library.engine).counts(run.id)
    assert (counts.done, counts.rejected) == (3, 3)
    assert audit(library, run).problems == []
    assert all(leaked(row) <= bound for row in rows(out))
    for row in rows(out, "rejected.jsonl"):
        assert leaked(row) > bound
        assert row["reason"].startswith("leakage ")


def test_refine_auto_refines_what_leaks_and_leaves_the_rest(
    run_editvec: Editvec, measured: tuple[Path, list[float]], tmp_path: Path
) -> None:
    source, values = measured
    bound = f"{sorted(values)[2] + 1e-9:.9f}"
    out = tmp_path / "out"

    words = ("--edit", "smile=1", "--max-leakage", bound, "--refine", "auto")
    assert run_editvec("batch", "run", source, out, *words, "--refine-steps", "5") == 0

    found = {row["source"]: row for row in [*rows(out), *rows(out, "rejected.jsonl")]}
    assert len(found) == 6
    for number, value in enumerate(values):
        row = found[f"{number}.png"]
        if value > float(bound):
            assert row["metrics"]["refined_steps"] == 5
            assert leaked(row) < value
        else:
            assert "refined_steps" not in row["metrics"]
            assert leaked(row) == pytest.approx(value, abs=1e-5)


def test_uncertain_labels_are_rejected(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(3), tmp_path / "out"

    words = ("--edit", "smile=1", "--max-uncertainty", "0")
    assert run_editvec("batch", "run", source, out, *words) == 0

    assert rows(out) == []
    for row in rows(out, "rejected.jsonl"):
        assert row["metrics"]["uncertainty"] > 0
        assert row["reason"].startswith("uncertainty ")


def test_photographs_that_the_class_cannot_reconstruct_are_rejected(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(3), tmp_path / "out"

    words = ("--edit", "smile=1", "--max-reconstruction", "0")
    assert run_editvec("batch", "run", source, out, *words) == 0

    assert len(rows(out, "rejected.jsonl")) == 3
    assert all(row["reason"].startswith("reconstruction ") for row in rows(out, "rejected.jsonl"))


def test_what_misses_its_wanted_mask_is_rejected(
    run_editvec: Editvec, make_pictures: MakePictures, tmp_path: Path, library: Library
) -> None:
    source, masks, out = make_pictures(2), tmp_path / "masks", tmp_path / "out"
    masks.mkdir()
    model = library.get_class("tiny")
    wanted = np.zeros((model.resolution, model.resolution), np.uint8)
    wanted[8:12, 8:12] = model.label("mouth").index
    for name in ("0.png", "1.png"):
        (masks / name).write_bytes(encode_mask(wanted, model.labels))

    words = ("--mode", "optimize", "--masks", masks, "--optimize-steps", "1", "--roi", "mouth")
    assert run_editvec("batch", "run", source, out, *words, "--min-success", "1") == 0

    rejected = rows(out, "rejected.jsonl")
    assert len(rejected) == 2
    for row in rejected:
        assert row["metrics"]["success_iou"] < 1
        assert row["reason"].startswith("success ")


@pytest.mark.parametrize(
    "settings",
    [
        {"max_leakage": -1.0},
        {"max_leakage": float("nan")},
        {"min_success": 0.5},
        {"refine_auto": True},
        {"refine_auto": True, "max_leakage": 1.0, "mode": Mode.REFINE},
        {"max_reconstruction": 1.0, "count": 3},
    ],
)
def test_bounds_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        RunSettings(**settings)


def test_a_measure_that_is_missing_breaks_no_bound() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32)
    bounds = RunSettings(max_leakage=0.0, max_uncertainty=0.0)

    assert rejection(images, [{}, {"leakage": {"psnr": None}}], bounds) == [None, None]
