"""Scales beyond the usable range: refused, or forced and told in every manifest."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.batch.errors import RecipeError
from editvec.batch.runs.planning import open_run
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, request, rows

MakePictures = Callable[..., Path]


def test_a_measured_range_binds_the_next_run(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    library.set_scale_range("smile", 0.5, 1.5)

    with pytest.raises(RecipeError, match=r"usable from 0\.5 to 1\.5, got 0"):
        open_run(library, request(make_pictures(1), tmp_path / "out", "smile=0:1:2"))

    assert not (tmp_path / "out").exists()


def test_a_forced_scale_is_told_in_the_manifests(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    library.set_scale_range("smile", 0.5, 1.5)
    out = tmp_path / "out"

    do(library, request(make_pictures(1), out, "smile=1:3:2", force_scale=True), device="cpu")

    by_recipe = {row["recipe"]: row["vectors"][0] for row in rows(out)}
    assert "forced" not in by_recipe["smile+1.00"]
    assert by_recipe["smile+3.00"] == {
        "address": "tiny/smile@1", "scale": 3.0, "forced": True, "usable_range": [0.5, 1.5],
    }  # fmt: skip
    summary = json.loads((out / "run.json").read_text())
    assert "forced_range" in json.dumps(summary["recipes"])


def test_only_items_that_drew_a_scale_beyond_are_marked(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    library.set_scale_range("smile", 0.0, 1.0)
    out = tmp_path / "out"

    wanted = request(make_pictures(4), out, "smile=choice(1,3)", force_scale=True)
    do(library, wanted, device="cpu")

    edits = [row["vectors"][0] for row in rows(out)]
    assert {edit["scale"] for edit in edits} == {1.0, 3.0}
    assert all(edit.get("forced", False) == (edit["scale"] == 3.0) for edit in edits)


def test_the_command_says_how_to_measure_a_range(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="editvec evaluate tiny/smile@1 --scales"):
        open_run(library, request(make_pictures(1), tmp_path / "out", "smile=uniform"))
