"""Edits composed on the fly: sums of vectors, stored compositions, and rows of a vector only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from editvec.batch.editing.deltas import load_deltas
from editvec.batch.errors import RecipeError
from editvec.batch.recipes.pinning import EditArgument, parse_edit, pin_vector
from editvec.batch.recipes.recipe import Recipe
from editvec.batch.recipes.settings import Composite
from editvec.batch.reports.audit import audit
from editvec.batch.runs.planning import open_run
from editvec.registry.entities.terms import parse_term
from editvec.registry.entities.vectors import NewTerm
from editvec.registry.errors import InvalidNameError
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, pixels, provenance_in, request, rows
from tests.support.worker_processes import start, worker

MakePictures = Callable[..., Path]


def test_rows_of_a_vector_are_added_and_no_others(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    run = open_run(library, request(make_pictures(1), tmp_path / "out", "smile[2:5]=1")).run

    (edit,) = run.plan.recipes[0].edits
    delta = load_deltas(library, run.plan)[edit.vector.term]
    whole = library.delta(library.get_vector("smile"))
    assert edit.vector.term == "tiny/smile@1[2:5]"
    np.testing.assert_array_equal(delta[2:5], whole[2:5])
    assert not np.delete(delta, slice(2, 5), axis=0).any()


def test_edits_give_the_picture_of_the_composition_of_the_same_terms(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    terms = ("smile[2:5]=0.8", "frown=0.5", "smile[5:8]=-0.4")
    num_ws = library.get_class("tiny").num_ws
    library.compose("tiny/mix", [parse_term(term, num_ws=num_ws) for term in terms])
    source = make_pictures(2)

    summed = do(library, request(source, tmp_path / "summed", *terms, composite=Composite.NONE))
    composed = do(
        library, request(source, tmp_path / "composed", "mix=1", composite=Composite.NONE)
    )

    assert summed.state == composed.state == "completed"
    for one, other in zip(rows(tmp_path / "summed"), rows(tmp_path / "composed"), strict=True):
        mine = pixels(tmp_path / "summed" / one["file_name"]).astype(int)
        theirs = pixels(tmp_path / "composed" / other["file_name"]).astype(int)
        assert np.abs(mine - theirs).max() <= 1
    assert audit(library, summed).problems == []


def test_manifest_metadata_and_report_tell_the_rows(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    do(library, request(make_pictures(1), out, "smile[0:3]=1", "smile[3:8]=0:1:2"))

    first, second = rows(out)
    assert first["vectors"] == [
        {"address": "tiny/smile@1", "scale": 1.0, "rows": [0, 3]},
        {"address": "tiny/smile@1", "scale": 0.0, "rows": [3, 8]},
    ]
    assert second["attributes"] == {"smile[0:3]": 1.0, "smile[3:8]": 1.0}
    assert first["content_key"] != second["content_key"]
    _, told = provenance_in((out / first["file_name"]).read_bytes())
    assert [one["rows"] for one in told["vectors"]] == [[0, 3], [3, 8]]
    assert "tiny/smile@1[3:8]" in (out / "report.html").read_text()


def test_other_rows_are_another_item(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(1)
    keys = set()
    for number, edit in enumerate(("smile=1", "smile[0:3]=1", "smile[0:4]=1")):
        do(library, request(source, tmp_path / str(number), edit))
        keys.add(rows(tmp_path / str(number))[0]["content_key"])

    assert len(keys) == 3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("smile[4:4]=1", r"smile\[4:4\]: rows: expected rows inside 0:8, got 4:4"),
        ("smile[0:9]=1", "inside 0:8, got 0:9"),
    ],
)
def test_rows_that_the_class_does_not_have_are_refused(
    library: Library, edit: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        pin_vector(library, library.get_class("tiny"), parse_edit(edit))


def test_rows_with_a_scale_in_the_name_are_refused(library: Library) -> None:
    argument = EditArgument(vector="smile[1:4]=0.5", scales=(1.0,))
    with pytest.raises(InvalidNameError, match=r"smile\[1:4\]=0\.5"):
        pin_vector(library, library.get_class("tiny"), argument)


def test_the_same_rows_twice_are_refused(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="given twice"):
        open_run(
            library,
            request(make_pictures(1), tmp_path / "out", "smile[0:2]=1", "smile@1[0:2]=0.5"),
        )


def test_rows_come_back_from_a_stored_plan(library: Library) -> None:
    (pinned,) = pin_vector(library, library.get_class("tiny"), parse_edit("smile[1:4]=0.5"))
    recipe = Recipe(name="r", edits=(pinned,))

    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_a_recipe_file_takes_rows(
    run_editvec: Callable[..., int], make_pictures: MakePictures, tmp_path: Path
) -> None:
    recipes = tmp_path / "recipes.yaml"
    recipes.write_text(
        "recipes:\n  - name: part\n    edits:\n      smile[0:3]: 1.0\n      frown: 0.5\n"
    )
    out = tmp_path / "out"

    assert run_editvec("batch", "run", make_pictures(1), out, "--recipes", recipes) == 0

    assert [one.get("rows") for one in rows(out)[0]["vectors"]] == [[0, 3], None]


@pytest.mark.slow
def test_a_worker_composes_what_was_asked_for(
    home: Path, library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    library.compose("tiny/both", [NewTerm(address="smile", scale=0.5)])
    source, out = make_pictures(2), tmp_path / "out"
    edits = ("smile[2:5]=0.8", "tiny/both@1=1", "frown=0.5")
    words = [word for edit in edits for word in ("--edit", edit)]
    do(library, request(source, tmp_path / "here", *edits))

    with worker(home):
        process = start(home, "batch", "run", source, out, *words, "--workers", "celery")
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors + (home / "worker.log").read_text()

    there = {row["source"]: row["content_key"] for row in rows(out)}
    assert there == {row["source"]: row["content_key"] for row in rows(tmp_path / "here")}
