"""The card of an output folder: `datasets` reads every row by it, whatever files are called."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from editvec.batch.errors import RunConflictError
from editvec.batch.recipes.recipe import SOURCE_RECIPE
from editvec.batch.reports.audit import audit
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.batch.sinks.card import check_card, is_misleading, write_card
from editvec.batch.sinks.files import FileWriter
from editvec.batch.sinks.ledger import Audit
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, pixels, request, rows

MakePictures = Callable[..., Path]
# of inputs; `datasets` takes all of these words, and second suffixes, for something
NAMES = ("train.png", "test-shot.png", "val/a.png", "party.png")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`load_dataset` without a network, with a cache of this test."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def load(path: Path, *more: str, **options: Any) -> Any:
        cache = str(tmp_path / "cache")
        return datasets.load_dataset(str(path), *more, split="train", cache_dir=cache, **options)

    return load


def require_every_row(loaded: Any, out: Path) -> None:
    made = {row["content_key"]: row for row in rows(out)}
    assert len(loaded) == len(made)
    assert {example["content_key"] for example in loaded} == made.keys()
    for example in loaded:
        row = made[example["content_key"]]
        pictures = {"file_name": "image", "mask_file_name": "mask"}
        assert example.keys() == {pictures.get(name, name) for name in row}
        for name, value in row.items():
            if name in pictures:
                assert (np.asarray(example[pictures[name]]) == pixels(out / value)).all()
            else:
                assert example[name] == value


@pytest.mark.parametrize("output", ["imagefolder", "coco"])
@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_names_of_splits_lose_no_row_and_make_no_sample_of_a_mask(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    load: Callable[..., Any],
    output: str,
    image_format: str,
) -> None:
    out = tmp_path / "test" / "out"

    do(
        library,
        request(
            make_pictures(names=NAMES), out, "smile=1", output=output, image_format=image_format
        ),
    )

    assert len(rows(out)) == 4
    require_every_row(load(out), out)


@pytest.mark.parametrize(
    "names",
    [
        ("a.txt.png", "b.txt.png"),
        ("a.csv.png", "sub/b.csv.png"),
        ("a.tar.png", "b.zip.png"),
        ("__test__/a.png", "__test__/b.png"),
        ("train.json.png", "validation/test.parquet.png"),
    ],
    ids=lambda names: names[0],
)
def test_second_suffixes_and_special_folders_lose_no_row(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    load: Callable[..., Any],
    names: tuple[str, ...],
) -> None:
    out = tmp_path / "out"

    do(library, request(make_pictures(names=names), out, "smile=1", image_format="jpeg"))

    require_every_row(load(out), out)


def test_recipes_with_names_of_splits_lose_no_row(
    library: Library, make_pictures: MakePictures, tmp_path: Path, load: Callable[..., Any]
) -> None:
    from editvec.batch.recipes.file import read_recipes

    out, written = tmp_path / "out", tmp_path / "recipes.yaml"
    names = ("train", "test-shot", "eval")
    recipes = [{"name": name, "edits": {"smile": 1 - n}} for n, name in enumerate(names)]
    written.write_text(yaml.safe_dump({"recipes": recipes}))
    wanted = request(make_pictures(2), out)
    wanted = RunRequest(**{**vars(wanted), "recipes": read_recipes(written)})

    do(library, wanted)

    assert {row["recipe"] for row in rows(out)} == set(names)
    require_every_row(load(out), out)


@pytest.mark.parametrize("where", ["", "shards"])
def test_shards_load_though_nothing_was_edited_in_the_first_samples(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    load: Callable[..., Any],
    where: str,
) -> None:
    out, source = tmp_path / "out", make_pictures(12)

    def of_seed(seed: int, target: Path) -> RunRequest:
        settings = {"output": "webdataset", "chunk_size": 8, "seed": seed}
        return request(source, target, "smile=20%", **settings)

    def begins_unedited(seed: int) -> bool:
        plan = open_run(library, of_seed(seed, tmp_path / f"plan-{seed}")).run.plan
        return not any(plan.attributes_of(0, position)["smile"] for position in range(5))

    do(library, of_seed(next(filter(begins_unedited, range(20))), out))

    made = rows(out)
    assert all(row["attributes"] == {"smile": 0.0} for row in made[:5])
    loaded = load(out / where)
    assert [example["__key__"] for example in loaded] == [row["key"] for row in made]
    for example, row in zip(loaded, made, strict=True):
        for name in ("attributes", "vectors", "metrics", "source", "recipe", "verdict"):
            assert example["json"][name] == row[name]
        assert example["mask.png"].mode == "P"


def types(value: object) -> object:
    """Keys and types of a JSON value."""
    if isinstance(value, dict):
        return {name: types(inner) for name, inner in value.items()}
    return [types(inner) for inner in value] if isinstance(value, list) else type(value)


def test_every_sample_has_the_same_keys_and_types(library: Library, tmp_path: Path) -> None:
    library.set_scale_range("smile", 0.5, 1.5)
    out, free = tmp_path / "out", tmp_path / "free"
    do(library, request(None, free, "smile=1", count=6, max_leakage=1000.0))
    leaked = sorted(
        value
        for row in rows(free)
        if row["recipe"] != SOURCE_RECIPE
        for name, value in row["metrics"]["leakage"].items()
        if name != "psnr"
    )
    settings = {"max_leakage": leaked[3], "refine_auto": True, "refine_steps": 2, "count": 6}

    wanted = request(None, out, "smile=0:1:2", force_scale=True, output="webdataset", **settings)
    do(library, wanted)

    made = rows(out)
    assert {row["recipe"] for row in made} == {SOURCE_RECIPE, "smile+0.00", "smile+1.00"}
    assert {json.dumps(types(row), default=str) for row in made} == {
        json.dumps(types(made[0]), default=str)
    }
    assert 0 in {row["metrics"]["refined_steps"] for row in made}
    assert all(
        (row["metrics"]["leakage"]["psnr"] == 999) == (row["recipe"] != "smile+1.00")
        for row in made
    )


def test_the_card_of_somebody_else_is_refused_by_name_and_stays(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("mine")

    with pytest.raises(RunConflictError, match=r"holds README\.md of no run"):
        open_run(library, request(make_pictures(1), out, "smile=1"))

    assert (out / "README.md").read_text() == "mine"
    assert [path.name for path in out.iterdir()] == ["README.md"]


def test_a_card_that_came_after_the_plan_stays_and_an_audit_names_it(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    out, wanted = tmp_path / "out", request(make_pictures(1), tmp_path / "out", "smile=1")
    open_run(library, wanted)
    (out / "README.md").write_text("mine")

    run = do(library, wanted)

    assert (out / "README.md").read_text() == "mine"
    assert audit(library, run).problems == ["not of this run: README.md"]
    (out / "README.md").unlink()
    assert audit(library, run).problems == ["missing: README.md"]


def test_a_repeated_and_a_second_run_write_their_own_card(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(1)
    one, other = (
        do(library, request(source, tmp_path / name, "smile=1")) for name in ("one", "other")
    )

    for run in (one, other):
        text = (run.plan.output_folder / "README.md").read_text()
        assert run.id in text
        assert audit(library, run).problems == []
    assert not open_run(library, request(source, tmp_path / "one", "smile=1")).is_new


@pytest.mark.parametrize(
    ("name", "misleads"),
    [
        ("images/a/b.png", False),
        ("images/smile+1.00/b.png", False),
        ("images/a.b/c.png", False),
        ("images/a/b", False),
        ("images/_a/b_.png", False),
        ("images/a/b.c.png", True),
        ("images/a/b..png", True),
        ("images/.a/b.png", True),
        (".a/b.png", True),
        ("images/__a/b.png", True),
        ("__a.png", True),
        ("images/a/.png", True),
    ],
)
def test_names_that_datasets_may_read_as_something_else(name: str, misleads: bool) -> None:
    assert is_misleading(name) == misleads


def test_an_own_card_is_renewed_and_that_of_somebody_else_is_not(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    run = open_run(library, request(make_pictures(1), tmp_path / "out", "smile=1")).run
    writer, card = FileWriter(tmp_path / "tmp", prefix="a"), tmp_path / "out" / "README.md"

    def problems() -> list[str]:
        found = Audit()
        check_card(found, run)
        return found.problems

    assert problems() == ["missing: README.md"]
    write_card(writer, run, ["a.jsonl"])
    assert problems() == []
    write_card(writer, run, ["b.jsonl", "images/**"])
    head = yaml.safe_load(card.read_text().split("---")[1])
    assert head["configs"] == [
        {
            "config_name": "default",
            "data_files": [{"split": "train", "path": ["b.jsonl", "images/**"]}],
        }
    ]
    card.write_text("mine")
    write_card(writer, run, ["a.jsonl"])
    assert card.read_text() == "mine"
    assert problems() == ["not of this run: README.md"]
