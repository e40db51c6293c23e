"""The script that makes a class of real photographs: it divides, trains, measures and reports."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from editvec.avatars.drawing.parameters import sample
from editvec.avatars.drawing.render import LABELS, render
from editvec.registry.labels.files import read_scheme
from studies.real_class.__main__ import best_mask, find_data
from studies.real_class.report import draw_curve, edited_rows
from tests.support.places import ROOT

GAP = 2  # as in data sets whose schemes have gaps: every value but 0 is one too high


def _write_data(folder: Path, *, photographs: int, pairs: int) -> Path:
    drawn = render(sample(photographs + pairs, seed=3), 32)
    values = np.where(drawn.mask == 0, 0, drawn.mask + GAP - 1).astype(np.uint8)
    for name in ("photos", "labelled/images", "labelled/masks"):
        (folder / name).mkdir(parents=True)
    for place, pixels in enumerate(drawn.pixels[pairs:]):
        Image.fromarray(pixels).save(folder / f"photos/{place:03}.jpg")
    for place in range(pairs):
        Image.fromarray(drawn.pixels[place]).save(folder / f"labelled/images/{place:02}.png")
        Image.fromarray(values[place]).save(folder / f"labelled/masks/{place:02}.png")
    names = {str(index + GAP - 1 if index else 0): name for index, name in enumerate(LABELS)}
    (folder / "scheme.json").write_text(json.dumps(names))
    return folder


def test_the_data_may_lie_one_folder_down_in_a_tar(tmp_path: Path) -> None:
    _write_data(tmp_path / "made/faces", photographs=1, pairs=1)
    with tarfile.open(tmp_path / "faces.tar", "w") as archive:
        archive.add(tmp_path / "made/faces", "faces")

    found = find_data(tmp_path / "faces.tar", tmp_path / "out")

    assert found == tmp_path / "out/data/faces"
    assert len(list((found / "labelled/masks").iterdir())) == 1
    assert find_data(tmp_path / "made/faces", tmp_path / "out") == tmp_path / "made/faces"


def test_a_tar_that_writes_elsewhere_or_holds_something_else_is_refused(tmp_path: Path) -> None:
    for name, path in (("outside.tar", "../outside.txt"), ("else.tar", "else.txt")):
        with tarfile.open(tmp_path / name, "w") as archive:
            entry = tarfile.TarInfo(path)
            archive.addfile(entry, io.BytesIO())

    with pytest.raises(click.ClickException, match=r"outside\.tar"):
        find_data(tmp_path / "outside.tar", tmp_path / "a")
    with pytest.raises(click.ClickException, match="expected photos, labelled/images"):
        find_data(tmp_path / "else.tar", tmp_path / "b")
    assert not (tmp_path / "outside.txt").exists()


def test_a_vector_is_learned_from_the_mask_that_shows_all_its_parts(tmp_path: Path) -> None:
    scheme = tmp_path / "scheme.json"
    scheme.write_text(json.dumps({"0": "background", "1": "left", "2": "right"}))
    masks = tmp_path / "masks"
    masks.mkdir()
    shown = {"a": [1] * 9, "b": [1, 1, 2, 2, 0, 0, 0, 0, 0], "c": [1, 2, 0, 0, 0, 0, 0, 0, 0]}
    for name, values in shown.items():
        pixels = np.array(values, np.uint8).reshape(3, 3)
        Image.fromarray(pixels).save(masks / f"{name}.png")

    best = best_mask(masks, read_scheme(scheme), "left, right: scale 2")

    assert best.name == "b.png"
    with pytest.raises(click.ClickException, match="background, left, right"):
        best_mask(masks, read_scheme(scheme), "middle: scale 2")


def test_medians_are_those_of_each_recipe(tmp_path: Path) -> None:
    def row(recipe: str, psnr: float, leaked: float | None) -> str:
        metrics = {"reconstruction": {"psnr": psnr}, "leakage": {"psnr": leaked}}
        return json.dumps({"recipe": recipe, "metrics": metrics})

    path = tmp_path / "metadata.jsonl"
    path.write_text(
        "\n".join(
            [row("a", 1, 7), row("a", 2, None), row("a", 9, 5), row("b", 4, 4), row("a", 1, 999.0)]
        )
    )

    found = edited_rows(path, ["a"])

    assert found == {
        "a": {"images": 4, "reconstruction_psnr": 1.5, "leakage_psnr": 6.0, "unchanged": 2}
    }


def test_a_curve_falls_where_its_values_fall(tmp_path: Path) -> None:
    draw_curve(tmp_path / "curve.png", [(0, 100), (1, 10), (2, 1)], names=("KID", "images"))
    draw_curve(tmp_path / "none.png", [(0, 1)], names=("KID", "images"))

    red = np.asarray(Image.open(tmp_path / "curve.png")).astype(int)
    rows, columns = np.nonzero((red[..., 0] > 150) & (red[..., 1] < 100))
    assert rows[columns < 100].max() < rows[columns > 590].min()
    assert not (tmp_path / "none.png").exists()


@pytest.mark.slow
def test_quick_goes_from_photographs_to_edited_ones_and_repeats_nothing(tmp_path: Path) -> None:
    data = _write_data(tmp_path / "data", photographs=40, pairs=12)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [
        sys.executable,
        "-m",
        "studies.real_class",
        data,
        tmp_path / "out",
        "--quick",
        "--class",
        "face",
    ]
    words += ["--pairs", "8", "--vector", "eyes=eye, iris: scale 1.6"]
    words += ["--vector", "mouth=mouth: scale 1.5x1", "--vector", "hair=hair: grow 2"]

    first = subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    out = tmp_path / "out"
    found = json.loads((out / "results.json").read_text())
    assert found["counts"] == {
        "photos/train": 36,
        "photos/held-out": 4,
        "pairs/train": 8,
        "pairs/held-out": 4,
    }
    steps = ["start", "masks", "generator", "encoder", "segmentation", "compare"]
    assert list(found["steps"]) == [*steps, "learn eyes", "learn mouth", "learn hair", "batch"]
    assert found["steps"]["compare"]["result"][0]["pairs"] == 4
    assert {name: row["images"] for name, row in found["edited"].items()} == {
        "eyes": 4,
        "mouth": 4,
        "hair": 4,
    }
    report = (out / "results.md").read_text()
    pictures = ["generator.png", "held-out.png", "training/segmentation/predictions.png"]
    for picture in (*pictures, "edited/contact_sheet.png", "edited/report.html"):
        assert f"]({picture})" in report
        assert (out / picture).stat().st_size > 1000
    assert first.stderr.count("--- ") == len(found["steps"])

    # one vector that cannot be learned costs nothing but itself, and nothing is done twice
    words += ["--vector", "same=hair: shift 0,0"]
    again = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )

    begun = [line.split(":")[0] for line in again.stderr.splitlines() if line.startswith("--- ")]
    assert begun == ["--- learn same", "--- batch"]
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1] == "Error: not learned: same"
    report = (out / "results.md").read_text()
    assert "| same | `hair: shift 0,0` | not learned |" in report
    assert "](edited-eyes-mouth-hair/report.html)" in report
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]
    # the masks' values have a gap, and mean the same parts nonetheless
    mask = np.asarray(Image.open(next((out / "pairs/held-out/masks").iterdir())))
    assert {LABELS.index("skin"), LABELS.index("hair")} <= set(np.unique(mask).tolist())
