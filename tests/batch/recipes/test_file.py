"""Recipes from a file: what they mean, what is refused and at which line, and runs of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editvec.batch.errors import RecipeError
from editvec.batch.recipes.file import read_recipes
from editvec.batch.recipes.scales import Share, UsableRange
from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library

MakePictures = Callable[..., Path]

GOOD = """\
recipes:
  - name: smiling
    edits: {smile: 1.0}
  - edits:
      smile: "-1:1:3"
      frown: 50%
    mode: refine
    refine_steps: 3
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipes.yaml"
    path.write_text(text)
    return path


def test_a_file_holds_several_recipes(tmp_path: Path) -> None:
    first, second = read_recipes(written(tmp_path, GOOD))

    assert (first.name, first.mode, first.edits[0].scales) == ("smiling", None, (1.0,))
    assert second.name is None
    assert (second.mode, second.refine_steps) == ("refine", 3)
    assert [edit.vector for edit in second.edits] == ["smile", "frown"]
    assert second.edits[0].scales == (-1.0, 0.0, 1.0)
    assert second.edits[1].scales == (Share(0.5),)


def test_uniform_alone_means_the_usable_range(tmp_path: Path) -> None:
    (one,) = read_recipes(written(tmp_path, "recipes: [{edits: {smile: uniform}}]"))

    assert one.edits[0].scales == (UsableRange(),)


@pytest.mark.parametrize("edits", ["{smile: 1}", "{smile: '-1:1:101'}"])
def test_more_recipes_than_a_run_takes_are_refused(tmp_path: Path, edits: str) -> None:
    text = f"recipes:\n- &one {{edits: {edits}}}\n" + "- *one\n" * 3000

    with pytest.raises(RecipeError, match="line 2: recipes: expected at most 256, got 3001"):
        read_recipes(written(tmp_path, text))


def test_aliases_that_stand_for_millions_of_values_are_refused(tmp_path: Path) -> None:
    # 3 + 256 * (3 + 2 * 30,000) nodes
    edits = ", ".join(f"v{place}: 1" for place in range(30_000))
    text = f"recipes:\n- edits: &all {{{edits}}}\n" + "- edits: *all\n" * 255

    with pytest.raises(RecipeError, match=r"its aliases \(\*name\) stand for 15,360,771 values"):
        read_recipes(written(tmp_path, text))


def test_aliases_save_writing(tmp_path: Path) -> None:
    text = "recipes:\n- {name: a, edits: &one {smile: 1, frown: 0.5}}\n- {name: b, edits: *one}"

    first, second = read_recipes(written(tmp_path, text))

    assert first.edits == second.edits
    assert [edit.vector for edit in second.edits] == ["smile", "frown"]


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("recipes:\n  - edits: {smile: big}\n", 2, "a number as the scale, got 'big'"),
        ("recipes:\n  - edits:\n      smile: 1\n      smile: 2\n", 4, "'smile' is given twice"),
        ("recipes:\n  - name: a\n", 2, "expected `edits:`"),
        ("recipes:\n  - edits: {}\n", 2, "at least one vector"),
        ("recipes:\n  - edits: {smile: 1}\n    mood: refine\n", 3, "got 'mood'"),
        ("recipes:\n  - edits: {smile: 1}\n    mode: optimize\n", 3, "got 'optimize'"),
        ("recipes:\n  - edits: {smile: 1}\n    name: ../x\n", 3, "can be a folder"),
        ("recipes:\n  - edits: {smile: 1}\n    refine_steps: 0\n", 3, "from 1 to"),
        ("recipes:\n  - edits: {smile: [1, 2]}\n", 2, "expected one value"),
        ("recipes: []\n", 1, "at least one recipe"),
        ("recipes:\n- {name: a, edits: {s: 1}}\n- {name: a, edits: {s: 2}}\n", 3, "given twice"),
        ("edits: {smile: 1}\n", 1, "expected one of recipes, got 'edits'"),
        ("- smile\n", 1, "expected `name: value` pairs"),
        ("recipes:\n  - edits: {smile: 1\n", 3, "not YAML"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, complaint: str
) -> None:
    path = written(tmp_path, text)

    with pytest.raises(RecipeError) as caught:
        read_recipes(path)

    assert f"{path}, line {line}: " in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\x00", "a: !!python/object/apply:os.system [x]\n"])
def test_what_is_no_list_of_recipes_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match=r"^recipes "):
        read_recipes(written(tmp_path, text))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        read_recipes(tmp_path / "none.yaml")


def _rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]


def test_one_run_does_all_recipes_of_a_file(
    run_editvec: Callable[..., int], make_pictures: MakePictures, tmp_path: Path, library: Library
) -> None:
    source, out = make_pictures(3), tmp_path / "out"
    file = written(tmp_path, GOOD)

    assert run_editvec("batch", "run", source, out, "--recipes", file, "--edit", "frown=1") == 0

    folders = sorted(path.name for path in (out / "images").iterdir())
    assert folders == [
        "frown+1.00",
        "smile+0.00_frown~+1.00or+0.00",
        "smile+1.00_frown~+1.00or+0.00",
        "smile-1.00_frown~+1.00or+0.00",
        "smiling",
    ]
    (run,) = Runs(library.engine).latest()
    assert Runs(library.engine).counts(run.id).done == 15
    assert audit(library, run).problems == []
    assert run_editvec("batch", "run", source, out, "--recipes", file, "--edit", "frown=1") == 0
    file.write_text(GOOD.replace("1.0", "0.5"))
    assert run_editvec("batch", "run", source, out, "--recipes", file, "--edit", "frown=1") == 1


def test_an_unknown_vector_in_a_file_is_told_with_its_line(
    run_editvec: Callable[..., int],
    make_pictures: MakePictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = written(tmp_path, "recipes:\n  - edits: {smile: 1}\n  - edits: {smyle: 1}\n")

    words = ("batch", "run", make_pictures(1), tmp_path / "out", "--recipes", file)
    assert run_editvec(*words) == 1

    assert "recipes, line 3: class tiny has no vector 'smyle'" in capsys.readouterr().err


def test_half_of_the_images_get_the_attribute_and_their_rows_say_so(
    run_editvec: Callable[..., int], make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(8), tmp_path / "out"
    words = ("batch", "run", source, out, "--seed", "3", "--composite", "none")

    edits = ("--edit", "smile=50%", "--edit", "frown=uniform(0.5,1.5)")
    assert run_editvec(*words, *edits, "--chunk-size", "3") == 0

    rows = _rows(out)
    smiles = [row["attributes"]["smile"] for row in rows]
    frowns = {row["attributes"]["frown"] for row in rows}
    assert sorted(smiles) == [0.0] * 4 + [1.0] * 4
    assert len(frowns) == 8
    assert all(0.5 <= frown <= 1.5 for frown in frowns)
    for row in rows:
        scales = {entry["address"]: entry["scale"] for entry in row["vectors"]}
        assert scales["tiny/smile@1"] == row["attributes"]["smile"]


def test_an_item_s_scale_is_the_one_that_its_picture_was_made_with(
    run_editvec: Callable[..., int], make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out, again = make_pictures(4), tmp_path / "out", tmp_path / "again"
    words = ("batch", "run", source, out, "--composite", "none", "--edit", "smile=uniform(-1,1)")
    assert run_editvec(*words) == 0

    for row in _rows(out):
        scale = row["attributes"]["smile"]
        alone = again / row["source"]
        single = ("--composite", "none", "--edit", f"smile={scale!r}")
        assert run_editvec("batch", "run", source, alone, *single) == 0
        (same,) = [one for one in _rows(alone) if one["source"] == row["source"]]
        assert same["content_key"] == row["content_key"]
        made = (out / row["file_name"]).stat().st_size
        assert abs(made - (alone / same["file_name"]).stat().st_size) < 0.05 * made


def test_a_range_that_nobody_measured_is_refused(
    run_editvec: Callable[..., int],
    make_pictures: MakePictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("batch", "run", make_pictures(1), tmp_path / "out", "--edit", "smile=uniform")

    assert run_editvec(*words) == 1

    assert "usable range of tiny/smile@1 was not measured" in capsys.readouterr().err
