"""The smile benchmark: its faces are what it says, its tables are its points, and it repeats."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from editvec.avatars.default import BUNDLE_FOLDER
from editvec.avatars.drawing.render import LABELS
from editvec.engine.bundle.bundle import load_bundle
from editvec.engine.images.images import to_images
from studies.smile.__main__ import PARTS, command, reaching
from studies.smile.faces import Faces, write_faces
from studies.smile.points import Place
from studies.smile.report import OURS, write_report


def _pictures(folder: Path) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def test_faces_are_neutral_and_get_another_mouth(tmp_path: Path) -> None:
    faces = write_faces(
        tmp_path, count=12, few_count=3, reference_count=40, seed=1, resolution=64
    )  # fmt: skip

    classifier = load_bundle(BUNDLE_FOLDER).classifier
    assert classifier is not None
    column = classifier.index("smiling")
    with torch.inference_mode():
        neutral, smiling = (
            (classifier(to_images(_pictures(folder)))[:, column] > 0).double().mean()
            for folder in (faces.neutral, faces.smiling)
        )
    assert neutral < 0.1
    assert smiling > 0.9
    assert faces.smiling_count == len(_pictures(faces.smiling)) < 40
    mouth = [LABELS.index("mouth"), LABELS.index("teeth")]
    for mask in _pictures(faces.wanted):
        assert np.isin(mask, mouth).any()
    for few, whole in zip(_pictures(faces.few), _pictures(faces.neutral), strict=False):
        assert (few == whole).all()


def test_the_same_seed_finds_its_faces_and_another_makes_others(tmp_path: Path) -> None:
    def write(seed: int) -> Faces:
        return write_faces(
            tmp_path, count=2, few_count=2, reference_count=4, seed=seed, resolution=32
        )

    first = write(0)
    written = (first.neutral / "0000.png").stat().st_mtime_ns

    assert write(0) == first
    assert (first.neutral / "0000.png").stat().st_mtime_ns == written
    assert (_pictures(write(1).neutral)[0] != _pictures(first.neutral)[0]).any()


def test_a_level_is_reached_on_the_line_between_scales() -> None:
    curve = [Place(2.0, 1.0, 0.7), Place(0.0, 0.0, 1.0), Place(1.0, 0.8, 0.9)]

    found = reaching(curve, 0.9)

    assert found is not None
    assert found == pytest.approx((1.5, 0.9, 0.8))
    assert reaching(curve[1:], 0.9) is None


def _write_point(out: Path, name: str, values: dict[str, float], mode: str = "vector") -> None:
    def measure(value: float) -> dict[str, Any]:
        return {"value": value, "interval": [value - 0.1, value + 0.1], "backbone": "trunk/a"}

    scale = float(name.split()[-1])
    measures = {key: measure(value) for key, value in values.items()}
    point = {"name": name, "scale": scale, "mode": mode, "measures": measures}
    path = out / "points" / "-".join(name.replace(":", "-").split())
    path.with_name(f"{path.name}.json").write_text(json.dumps(point))
    pictures = np.full((2, 8, 8, 3), round(100 * scale), np.uint8)
    np.savez(path.with_name(f"{path.name}.npz"), before=pictures, after=pictures)


def test_the_report_shows_what_is_there_and_leaves_the_rest_empty(tmp_path: Path) -> None:
    (tmp_path / "points").mkdir()
    for name in ("whole ours 0", "whole ours 1", "whole mean 1", "whole mean 0.5"):
        values = {"success_attribute": 0.875, "identity_similarity": 0.9, "fid_trunk-a": 4.0}
        _write_point(tmp_path, name, values)
    values = {"success_attribute": 1.0, "identity_similarity": 0.8}
    _write_point(tmp_path, "few ours refine:10 1", values, "refine:10")
    curve = [{"scale": 0.25, "accuracy": 0.5, "identity": 0.95}]
    equal = {"mean": {"scale": 0.5, "at_level": None, "curve": curve}}
    (tmp_path / "equal.json").write_text(json.dumps(equal))
    faces = Faces(tmp_path / "faces", 40, 20, 100, 33)

    text = write_report(tmp_path, faces, {"ours": "1 pair", "mean": "many", "sefa": "none"})

    assert "### All faces at scale 1, n=40" in text
    assert "| ours | 1 pair | 87.5 (77.5 to 97.5) | 4.00 (3.90 to 4.10) |  |  | 0.900 (0.8" in text
    assert "| sefa | none |  |  |  |  |  |" in text
    assert "| mean | 0.5 | 87.5 (77.5 to 97.5) |" in text
    assert "| sefa | not reached |" in text
    assert "| ours, refine:10 | 100.0" in text
    assert (tmp_path / "results.md").read_text() == text
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {"accuracy-identity.png", "fid-scale.png", "refinement.png", "faces.png"}
    grid = np.asarray(Image.open(tmp_path / "faces.png").convert("RGB"))
    least = (grid == 50).all(axis=2).sum()
    assert least > 1000, "the picture of the least scale, not of scale 1"


@pytest.mark.slow
def test_quick_measures_every_part_and_the_same_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tmp_path), "--count", "8", "--quick"]

    command(words, standalone_mode=False)
    first = json.loads((tmp_path / "results.json").read_text())
    lost = "whole ours 1"
    (tmp_path / "points" / "whole-ours-1.json").unlink()
    capsys.readouterr()
    command(words, standalone_mode=False)

    assert capsys.readouterr().err.splitlines() == ["--- whole-ours-1"]
    second = json.loads((tmp_path / "results.json").read_text())
    for found in (first, second):
        found["points"][lost]["measures"].pop("seconds_per_image")
    assert second == first
    least = first["equal"]["mean"]["scale"]
    target = first["points"][lost]["measures"]["success_attribute"]["value"]
    for place in first["equal"]["mean"]["curve"]:
        assert place["scale"] >= least or place["accuracy"] < target
    modes = {point["mode"] for point in first["points"].values()}
    assert modes == {"vector", "refine:2", "optimize:2"}
    assert OURS in first["labels"]
    assert len(PARTS) == 4
