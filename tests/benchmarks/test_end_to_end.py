import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.batch.end_to_end import _compare, _table
from tests.support.places import ROOT


def test_ratios_are_taken_turn_by_turn() -> None:
    before = [{"processor": 2.0, "wall": 4.0}, {"processor": 6.0, "wall": 4.0}]
    now = [{"processor": 1.0, "wall": 4.0}, {"processor": 2.0, "wall": 8.0}]

    table = _table({"before": before, "now": now}, 12)

    assert table["processor"]["ratio"] == 2.5
    assert (table["wall"]["ratio_min"], table["wall"]["ratio_max"]) == (0.5, 1.0)
    assert table["processor"]["before_images_per_second"] == 3.0


def test_outputs_are_compared_pixel_by_pixel(tmp_path: Path) -> None:
    for name, value in (("before", 0), ("now", 255)):
        (tmp_path / name).mkdir()
        pixels = np.zeros((2, 2, 3), np.uint8)
        pixels[0, 0] = value
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
        Image.fromarray(pixels[:, :, 0]).save(tmp_path / name / "a.mask.png")

    compared = _compare(tmp_path / "before", tmp_path / "now")

    assert compared["labels_changed"] == 0.25
    assert compared["psnr_db"] == pytest.approx(10 * np.log10(4))


@pytest.mark.slow
def test_a_checkout_equals_itself() -> None:
    script = [sys.executable, "-m", "benchmarks.batch.end_to_end", "--against", str(ROOT)]

    ended = subprocess.run(
        [*script, "--count", "4", "--turns", "1", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(ended.stdout)
    assert found["outputs"]["labels_changed"] == 0
    assert found["outputs"]["psnr_db"] > 100
    assert found["run"]["processor"]["ratio"] > 0
    assert set(found["stages_ms"]["now"]) == set(found["stages_ms"]["before"])
