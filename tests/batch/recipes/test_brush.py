"""Painted regions in runs: what is outside stays bit for bit, what is inside may change."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from editvec.batch.errors import RecipeError
from editvec.batch.previews.preview import preview_vector
from editvec.batch.previews.probes import PreviewProbes
from editvec.batch.recipes.pinning import expand, parse_edit, pin_vector
from editvec.batch.recipes.recipe import Recipe
from editvec.batch.recipes.settings import Mode
from editvec.batch.runs.planning import open_run
from editvec.batch.workbench import Workbench
from editvec.engine.images.roi import dilate
from editvec.registry.entities.vectors import EditingVector, NewVector, VectorParcel
from editvec.registry.errors import BlobError
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import encode_brush
from tests.support.folder_runs import do, pixels, request, rows

MakePictures = Callable[..., Path]
RESOLUTION, DILATION = 32, 2
BoolArray = npt.NDArray[np.bool_]


def _painted(top: int, left: int) -> BoolArray:
    painted = np.zeros((RESOLUTION, RESOLUTION), bool)
    painted[top : top + 6, left : left + 9] = True
    return painted


CORNER, MIDDLE = _painted(2, 3), _painted(15, 14)


def _grown(painted: BoolArray, dilation: int = DILATION) -> BoolArray:
    grown: BoolArray = dilate(torch.from_numpy(painted)[None, None], dilation)[0, 0].numpy()
    return grown


def _add(
    library: Library,
    name: str,
    painted: BoolArray | None = None,
    *,
    labels: tuple[str, ...] = (),
    policy: str = "brush",
) -> EditingVector:
    """A vector of strong, equal rows, so that every pixel of the picture wants to change."""
    model = library.get_class("tiny")
    new = NewVector(
        class_name="tiny",
        name=name,
        roi_labels=labels,
        roi_policy=policy,
        dilation=DILATION,
        latent_space="W",
    )
    row = np.random.default_rng(len(name)).normal(size=model.w_dim) * 3
    parcel = VectorParcel(
        new=new,
        delta=np.repeat(row[None], model.num_ws, axis=0),
        brush_png=None if painted is None else encode_brush(painted),
    )
    return library.add_vectors([parcel])[0].vector


def _changes(source: Path, target: Path, recipe: str) -> list[BoolArray]:
    """Where each output differs from its input."""
    return [
        (pixels(path) != pixels(target / "images" / recipe / path.name)).any(axis=-1)
        for path in sorted(source.iterdir())
    ]


@pytest.mark.parametrize("mode", [Mode.VECTOR, Mode.REFINE])
def test_only_the_painted_region_changes_and_all_around_it_is_bit_equal(
    library: Library, make_pictures: MakePictures, tmp_path: Path, mode: Mode
) -> None:
    _add(library, "bruise", CORNER)
    source, target = make_pictures(3), tmp_path / "out"

    run = do(library, request(source, target, "bruise=1", mode=mode, refine_steps=2))

    assert run.state == "completed"
    for changed in _changes(source, target, "bruise+1.00"):
        assert not changed[~_grown(CORNER)].any()
        assert changed[CORNER].mean() > 0.9
    assert all(row["metrics"]["leakage"]["psnr"] is not None for row in rows(target))


def test_policy_union_adds_the_painted_region_to_the_parts(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    _add(library, "both", CORNER, labels=("mouth",), policy="union")
    _add(library, "part", labels=("mouth",), policy="labels")
    source = make_pictures(2)
    for name in ("both", "part"):
        do(library, request(source, tmp_path / name, f"{name}=1"))

    both = _changes(source, tmp_path / "both", "both+1.00")
    part = _changes(source, tmp_path / "part", "part+1.00")

    for with_brush, without in zip(both, part, strict=True):
        assert with_brush[CORNER].mean() > 0.9
        elsewhere = ~_grown(CORNER, 2 * DILATION)  # the soft edges of two regions meet
        np.testing.assert_array_equal(with_brush[elsewhere], without[elsewhere])


def test_policy_brush_leaves_the_parts_that_are_named_alone(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    _add(library, "bruise", CORNER, labels=("background", "skin", "hair", "eye", "mouth", "teeth"))
    source = make_pictures(1)

    do(library, request(source, tmp_path / "out", "bruise=1"))

    (changed,) = _changes(source, tmp_path / "out", "bruise+1.00")
    assert not changed[~_grown(CORNER)].any()


def test_several_edits_may_change_what_one_of_them_may(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    _add(library, "one", CORNER)
    _add(library, "other", MIDDLE)
    source = make_pictures(1)

    do(library, request(source, tmp_path / "out", "one=1", "other=1"))

    (changed,) = _changes(source, tmp_path / "out", "one+1.00_other+1.00")
    assert not changed[~(_grown(CORNER) | _grown(MIDDLE))].any()
    assert changed[CORNER].mean() > 0.9
    assert changed[MIDDLE].mean() > 0.9


def test_parts_that_the_run_names_take_the_place_of_the_brush(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    _add(library, "bruise", CORNER)
    _add(library, "braise", labels=("mouth",), policy="labels")  # the same delta, by its length
    source = make_pictures(2)
    do(library, request(source, tmp_path / "run", "bruise=1", roi=("mouth",)))
    do(library, request(source, tmp_path / "vector", "braise=1"))

    by_run = _changes(source, tmp_path / "run", "bruise+1.00")
    by_vector = _changes(source, tmp_path / "vector", "braise+1.00")

    np.testing.assert_array_equal(by_run, by_vector)


def test_items_with_another_brush_have_another_content_key(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(1)
    keys = set()
    for name, painted in (("bruise", CORNER), ("braise", MIDDLE)):
        _add(library, name, painted)
        do(library, request(source, tmp_path / name, f"{name}=1"))
        keys.add(rows(tmp_path / name)[0]["content_key"])

    assert len(keys) == 2


def test_brush_that_is_gone_stops_the_run_with_its_digest(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    digest = _add(library, "bruise", CORNER).brush_digest
    wanted = request(make_pictures(1), tmp_path / "out", "bruise=1")
    open_run(library, wanted)
    assert digest is not None
    (Path(library.blobs.url) / digest[:2] / digest).unlink()

    with pytest.raises(BlobError, match=digest):
        do(library, wanted)


def test_recipes_with_and_without_a_brush_survive_their_json(library: Library) -> None:
    _add(library, "bruise", CORNER)
    model = library.get_class("tiny")
    stored = {}
    for text in ("bruise=1", "smile=1"):
        (recipe,) = expand([pin_vector(library, model, parse_edit(text))])
        stored[text] = json.loads(json.dumps(recipe.to_json()))
        assert Recipe.from_json(stored[text]) == recipe

    assert stored["bruise=1"]["edits"][0]["roi_labels"] == []
    assert len(stored["bruise=1"]["edits"][0]["brush_digest"]) == 64


def test_preview_shows_what_a_brush_allows(library: Library) -> None:
    vector = _add(library, "bruise", CORNER)
    with Workbench(library, device="cpu") as bench:
        sheet = preview_vector(
            library,
            bench.editor_for(vector.address),
            vector,
            probes=PreviewProbes(count=1),
            scales=(1.0,),
        )

    assert sheet.startswith(b"\x89PNG")


@pytest.mark.parametrize("space", ["Z", "S"])
def test_vector_of_another_space_is_kept_but_not_applied(
    library: Library, make_pictures: MakePictures, tmp_path: Path, space: str
) -> None:
    z_dim = library.get_class("tiny").z_dim
    new = NewVector(class_name="tiny", name="deep", roi_labels=("mouth",), latent_space=space)
    library.add_vector(new, np.ones((1, z_dim)))

    with pytest.raises(RecipeError) as caught:
        open_run(library, request(make_pictures(1), tmp_path / "out", "deep=1"))

    message = f"edit: tiny/deep@1 lives in {space}; a run applies W and W+"
    assert str(caught.value) == message
    assert not (tmp_path / "out").exists()


def test_forced_scale_is_logged(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = make_pictures(1)

    with caplog.at_level(logging.WARNING):
        open_run(library, request(source, tmp_path / "out", "smile=1:3:2", force_scale=True))

    assert [record.getMessage() for record in caplog.records] == [
        "edit: tiny/smile@1 is usable from None to 2.0, got 3, taken by --force-scale"
    ]
