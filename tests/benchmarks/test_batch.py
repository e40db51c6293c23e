"""The benchmark of runs: its runs are whole, what it compares is the same, and it says so."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.batch.grouping import Difference, differences
from benchmarks.batch.library import FAILED, decide_items, link_photos, open_library, plan_run
from benchmarks.batch.measures import main, report
from benchmarks.batch.processes import spread
from benchmarks.batch.rates import BARE_LOOP, _require_same
from editvec.batch.reports.audit import audit
from editvec.batch.reports.completion import complete

SPREAD = {"median": 2.0, "min": 1.0, "max": 3.0}


def test_a_run_that_was_decided_in_bulk_is_whole(tmp_path: Path) -> None:
    with open_library(tmp_path / "home") as library:
        photos = link_photos(tmp_path / "photos", 60)
        run = plan_run(library, photos, tmp_path / "out")

        state = decide_items(library, run)
        run = complete(library, run, state)

        assert run.state in ("completed", "completed_with_failures")
        assert audit(library, run).items == 60
        assert audit(library, run).problems == []
    rows = (tmp_path / "out/metadata.jsonl").read_text().splitlines()
    assert 60 * (1 - 10 * FAILED) - 5 < len(rows) <= 60


def _write(folder: Path, *, lighter: int = 0) -> None:
    """What a way made of one photograph."""
    folder.mkdir()
    pixels = np.full((4, 4, 3), 100 + lighter, np.uint8)
    names = {"image": "a.0.png", "mask": "a.0.mask.png"}
    Image.fromarray(pixels).save(folder / names["image"])
    Image.fromarray(pixels[..., 0] * 0).save(folder / names["mask"])
    row = {
        "file_name": names["image"],
        "mask_file_name": names["mask"],
        "source": "a.png",
        "attributes": {"smile": 1.0},
    }
    (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n")


def test_ways_that_make_other_images_are_not_compared(tmp_path: Path) -> None:
    for name, lighter in (("bare", 0), ("same", 2), ("other", 3)):
        _write(tmp_path / name, lighter=lighter)
    bare = {BARE_LOOP: tmp_path / "bare"}

    _require_same({**bare, "same": tmp_path / "same"})
    with pytest.raises(SystemExit, match=r"other: a.0.png differs by 3 of 255"):
        _require_same({**bare, "other": tmp_path / "other"})
    (tmp_path / "same/metadata.jsonl").write_text("")
    with pytest.raises(SystemExit, match="same: 0 images, the bare loop made 1"):
        _require_same({**bare, "same": tmp_path / "same"})


def test_what_differs_between_two_runs_is_counted(tmp_path: Path) -> None:
    for name, lighter, key in (("a", 0, "k"), ("b", 2, "k"), ("c", 0, "other")):
        _write(tmp_path / name, lighter=lighter)
        manifest = tmp_path / name / "metadata.jsonl"
        row = json.loads(manifest.read_text()) | {"content_key": key}
        manifest.write_text(json.dumps(row) + "\n")
    painted = np.asarray(Image.open(tmp_path / "c/a.0.mask.png")).copy()
    painted[0, 0] = 1
    Image.fromarray(painted).save(tmp_path / "c/a.0.mask.png")

    assert differences(tmp_path / "a", tmp_path / "a") == Difference(0.0, 0, 0.0, 0)
    assert differences(tmp_path / "a", tmp_path / "b") == Difference(1.0, 2, 0.0, 0)
    assert differences(tmp_path / "a", tmp_path / "c") == Difference(0.0, 0, 1 / 16, 1)
    (tmp_path / "b/metadata.jsonl").write_text("")
    with pytest.raises(SystemExit, match="expected the files of"):
        differences(tmp_path / "a", tmp_path / "b")


def test_report_has_a_table_for_each_part() -> None:
    names = ("images_per_second", "of_the_bare_loop", "start_seconds", "end_seconds")
    found = {
        "rates": {"photographs": {"in process": dict.fromkeys(names, SPREAD)}},
        "claims": {"sqlite": {"leases_per_second": SPREAD, "items_per_second": SPREAD}},
        "scale": {10: {"audit": {"seconds": 1.5, "peak_mib": 99.6}}},
    }

    rates, claims, scale = report(found).split("\n\n")

    assert "2.0 (1.0-3.0)  2.00 (1.00-3.00)" in rates
    assert claims.splitlines()[1].split() == ["sqlite", "2", "(1-3)", "2", "(1-3)"]
    assert scale.splitlines()[1] == "audit   1.5 s, 100 MiB"


@pytest.mark.parametrize(("values", "median"), [([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0], 2.5)])
def test_spread_tells_the_median(values: list[float], median: float) -> None:
    assert spread(values) == {"median": median, "min": min(values), "max": max(values)}


def test_script_finds_the_package_beside_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.batch", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "--postgresql URL" in done.stdout


@pytest.mark.slow
def test_quick_measures_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--work", str(tmp_path), "--json", str(tmp_path / "found.json")])

    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"rates", "claims", "scale"}
    assert "in process" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
