import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvec.batch.errors import RecipeError
from editvec.batch.recipes.pinning import expand, parse_edit, recipe_name
from editvec.batch.recipes.recipe import MAX_NAME_LENGTH, Edit, PinnedVector, Recipe
from editvec.batch.recipes.scales import Choice
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.plan import RunPlan, build_request


def vector(name: str, *labels: str) -> PinnedVector:
    return PinnedVector(
        address=f"avatars/{name}@1", attribute=name, delta_digest="0" * 64, roi_labels=labels
    )


def pinned(text: str) -> list[Edit]:
    argument = parse_edit(text)
    scales = tuple(scale for scale in argument.scales if isinstance(scale, float))
    named = vector(argument.vector.partition("@")[0])
    return [Edit(vector=named, scale=scale) for scale in scales]


def test_an_edit_is_a_name_and_a_scale() -> None:
    edit = parse_edit("smile@2=0.5")

    assert (edit.vector, edit.scales) == ("smile@2", (0.5,))


def test_a_sweep_includes_both_ends() -> None:
    assert parse_edit("smile=-1:1:5").scales == (-1.0, -0.5, 0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("smile", "NAME=SCALE"),
        ("=1", "NAME=SCALE"),
        ("smile=", "NAME=SCALE"),
        ("smile[4]=1", "NAME=SCALE"),
        ("smile=big", "a number as the scale, got 'big'"),
        ("smile=nan", "scale of -100 to 100, got 'nan'"),
        ("smile=inf", "got 'inf'"),
        ("smile=1e9", "got '1e9'"),
        ("smile=0:1", "FIRST:LAST:COUNT"),
        ("smile=0:1:x", "got 'x'"),
        ("smile=0:1:1", "2 to 101 scales"),
        ("smile=0:1:1000000", "2 to 101 scales"),
        ("smile=1:1:3", "ends of a sweep must differ"),
        ("smile=0:nan:3", "got 'nan'"),
    ],
)
def test_a_wrong_edit_is_refused_with_the_argument_that_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match=r"^edit: ") as caught:
        parse_edit(text)

    assert complaint in str(caught.value)


def test_several_sweeps_make_every_combination_in_the_order_typed() -> None:
    arguments = [pinned("smile=0:1:2"), pinned("look-left=0:1:3")]

    recipes = expand(arguments)

    scales = [tuple(edit.scale for edit in recipe.edits) for recipe in recipes]
    assert scales == list(itertools.product((0.0, 1.0), (0.0, 0.5, 1.0)))


def test_too_many_variants_are_refused_before_any_work() -> None:
    arguments = [pinned("smile=0:1:101"), pinned("frown=0:1:101")]

    with pytest.raises(RecipeError, match="10201 variants"):
        expand(arguments)


def test_one_vector_given_twice_is_refused() -> None:
    arguments = [pinned("smile=1"), pinned("smile@1=0.5")]

    with pytest.raises(RecipeError, match="given twice"):
        expand(arguments)


def test_a_name_tells_vectors_and_scales() -> None:
    edits = [
        Edit(vector=vector("smile"), scale=1.0),
        Edit(vector=vector("look-left"), scale=-0.5),
    ]

    assert recipe_name(edits) == "smile+1.00_look-left-0.50"
    assert recipe_name([]) == "source"


def test_a_long_name_is_cut_and_stays_unique() -> None:
    names = {
        recipe_name([Edit(vector=vector(f"v{i}" * 20), scale=scale) for i in range(9)])
        for scale in (0.1, 0.2)
    }

    assert len(names) == 2
    assert all(len(name) <= MAX_NAME_LENGTH for name in names)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20, unique=True))
def test_different_scales_have_different_names(scales: list[float]) -> None:
    distinct = {scale + 0.0 for scale in scales}

    names = {recipe_name([Edit(vector=vector("smile"), scale=scale)]) for scale in distinct}

    assert len(names) == len(distinct)


def test_attributes_name_every_vector_of_the_run(tmp_path: Path) -> None:
    settings = RunSettings(count=1)
    plan = RunPlan(
        kind="generate",
        class_address="avatars@1",
        generator_digest="1" * 64,
        bundle_digest="2" * 64,
        input_folder=None,
        output_folder=tmp_path,
        request=build_request("avatars", [], None, settings),
        recipes=(
            Recipe(name="x", edits=(Edit(vector=vector("smile"), scale=0.5),)),
            Recipe(name="y", edits=(Edit(vector=vector("frown"), scale=Choice.evenly([2.0])),)),
        ),
        settings=settings,
    )

    assert plan.attributes_of(0, 0) == {"smile": 0.5, "frown": 0.0}
    assert plan.attributes_of(1, 0) == {"smile": 0.0, "frown": 2.0}


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(name="x", edits=(Edit(vector=vector("smile", "mouth"), scale=0.5),))

    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.roi_labels == ("mouth",)
