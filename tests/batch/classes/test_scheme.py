"""Masks are read as the class has learned to read them, by every command."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import editvec.engine.training.segmentation
from editvec.engine.editor import Editor
from editvec.engine.images.images import to_pixels, write_png
from editvec.registry.config import RegistryConfig
from editvec.registry.library.contents import scheme_of_class
from editvec.registry.library.library import Library
from tests.support.engine_fixtures import TINY_LABELS
from tests.support.killed_segmentations import CALIBRATION_STEPS

Command = Callable[..., int]

# gaps, and another order than that of the parts: what is not known would be misread, too
VALUES = (0, 2, 1, 50, 60, 200)


@pytest.fixture(autouse=True)
def _quick_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        editvec.engine.training.segmentation, "CALIBRATION_STEPS", CALIBRATION_STEPS
    )


@pytest.fixture
def plain(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Samples, and what the class finds in them."""
    return _write_pairs(tiny_bundle, tmp_path / "plain", values=range(len(TINY_LABELS)))


@pytest.fixture
def spelled(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The same with other values in the masks."""
    return _write_pairs(tiny_bundle, tmp_path / "spelled", values=VALUES)


@pytest.fixture
def scheme(tmp_path: Path) -> Path:
    """What the values mean."""
    path = tmp_path / "scheme.yaml"
    parts = zip(TINY_LABELS, VALUES, strict=True)
    lines = [f"  - {{name: {name}, value: {value}}}" for name, value in parts]
    path.write_text("\n".join(["parts:", *lines]))
    return path


def _write_pairs(bundle: Path, folder: Path, *, values: Sequence[int]) -> Path:
    editor = Editor.open(bundle)
    made = editor.synthesize_with_mask(editor.sample(4, seed=3))
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number, pixels in enumerate(to_pixels(made.images)):
        write_png(folder / "images" / f"{number}.png", pixels)
        mask = np.array(values, np.uint8)[made.mask[number].numpy()]
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return folder


def _compared(
    run_editvec: Command, capsys: pytest.CaptureFixture[str], name: str, pairs: Path
) -> float:
    words = ("--count", 1, "--embed-steps", 1, "--device", "cpu", "--json")
    capsys.readouterr()
    assert run_editvec("model", "compare", name, "--pairs", pairs, *words) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["pairs"] == 4
    return float(row["mean_iou"])


def test_classes_are_compared_by_the_scheme_that_they_came_with(
    run_editvec: Command,
    plain: Path,
    spelled: Path,
    scheme: Path,
    tiny_bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("model", "import", tiny_bundle, "--class", "other", "--scheme", scheme)
    assert run_editvec(*words) == 0

    expected = _compared(run_editvec, capsys, "tiny", plain)
    found = _compared(run_editvec, capsys, "other", spelled)

    assert found == expected > 0


def test_unknown_value_is_told_with_its_place(
    run_editvec: Command, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = np.zeros((32, 32), np.uint8)
    wrong[3, 5] = 50
    Image.fromarray(wrong).save(plain / "masks" / "2.png")
    words = ("model", "compare", "tiny", "--pairs", plain, "--count", 1, "--embed-steps", 1)

    assert run_editvec(*words, "--device", "cpu") == 1

    assert "2.png: value 50 at row 3, column 5 is none of" in capsys.readouterr().err


def test_scheme_of_a_training_is_that_of_the_next_one_and_of_other_commands(
    home: Path,
    run_editvec: Command,
    spelled: Path,
    scheme: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["train", "segmentation", spelled, "--class", "tiny", "--embed", "steps:2", "--json"]
    words += ["--steps", 6, "--members", 2, "--folds", 0, "--device", "cpu", "--keep-unlike"]
    assert run_editvec(*words, "--scheme", scheme) == 0
    first = json.loads(capsys.readouterr().out)

    assert run_editvec(*words) == 0
    again = json.loads(capsys.readouterr().out)
    assert run_editvec("mask", "show", spelled / "masks", "--class", "tiny", "--json") == 0
    capsys.readouterr()
    _compared(run_editvec, capsys, "tiny", spelled)

    assert again == first
    assert again["address"] == "tiny@2"
    with Library.open(RegistryConfig.for_home(home)) as library:
        read = scheme_of_class(library, library.get_class("tiny"))
    assert read.index_of_value == {255: -1} | {value: index for index, value in enumerate(VALUES)}


def test_masks_that_the_program_writes_hold_indices_of_parts(
    run_editvec: Command,
    scheme: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever the class's own files hold."""
    words = ("model", "import", tiny_bundle, "--class", "other", "--scheme", scheme)
    assert run_editvec(*words) == 0
    out = tmp_path / "out"
    words = ("batch", "generate", out, "--class", "other", "--count", 1, "--device", "cpu")
    assert run_editvec(*words) == 0
    (written,) = (out / "masks").rglob("*.png")
    capsys.readouterr()

    assert run_editvec("mask", "show", written, "--class", "other", "--json") == 0

    expected = np.unique(np.asarray(Image.open(written))).tolist()
    shown = json.loads(capsys.readouterr().out)
    assert [TINY_LABELS.index(one["part"]) for one in shown] == expected
