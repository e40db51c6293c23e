"""Each variant of a run has a folder of its own, on every disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.batch.errors import RecipeError
from editvec.batch.recipes.file import RecipeArgument
from editvec.batch.recipes.pinning import expand, parse_edit, with_own_folders
from editvec.batch.recipes.recipe import Edit, PinnedVector, Recipe
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.registry.library.library import Library


def variants(*edits: str) -> list[Recipe]:
    arguments = []
    for text in edits:
        typed = parse_edit(text)
        pinned = PinnedVector(
            address=f"c/{typed.vector}@1",
            attribute=typed.vector,
            delta_digest="0" * 64,
            roi_labels=(),
        )
        scales = tuple(scale for scale in typed.scales if isinstance(scale, float))
        arguments.append([Edit(vector=pinned, scale=scale) for scale in scales])
    return expand(arguments)


def names(recipes: list[Recipe]) -> list[str]:
    return [recipe.name for recipe in with_own_folders(recipes)]


def test_vectors_that_differ_in_case_have_folders_that_differ_in_more() -> None:
    found = names([*variants("Smile=1"), *variants("smile=1"), *variants("frown=1")])

    assert len({name.casefold() for name in found}) == 3
    assert found[2] == "frown+1.00"


def test_the_folder_of_a_variant_does_not_depend_on_the_order() -> None:
    one, other = variants("Smile=1"), variants("smile=1")

    assert names([*one, *other]) == names([*other, *one])[::-1]


def test_a_recipe_called_like_the_folder_of_unedited_samples_steps_aside() -> None:
    found = names([Recipe(name="source", edits=()), Recipe(name="Source", edits=())])

    assert found[0] == "source"
    assert found[1].casefold() != "source"


def test_a_vector_called_like_a_device_gives_a_folder_that_every_system_takes() -> None:
    assert names(variants("con.x=1")) == ["%63on.x+1.00"]


def test_two_variants_of_the_very_same_name_are_refused_by_it() -> None:
    with pytest.raises(RecipeError, match=r"same name, 'smile\+1\.00'"):
        names([*variants("smile=1"), *variants("smile=1")])


def test_recipes_of_a_file_get_portable_folders_that_a_repeated_command_finds_again(
    library: Library, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    given = ["CON", "a.", "Fine", "fine", "smiling"]
    request = RunRequest(
        class_name="tiny",
        input_folder=make_pictures(names=("A.png", "a.png")),
        output_folder=tmp_path / "out",
        edits=(),
        settings=RunSettings(),
        recipes=[RecipeArgument(edits=(parse_edit("smile=1"),), name=name) for name in given],
    )

    first, again = open_run(library, request), open_run(library, request)

    found = [recipe.name for recipe in first.run.plan.recipes]
    assert found[:2] == ["%43ON", "a%2E"]
    assert found[4] == "smiling"
    assert len({name.casefold() for name in found}) == 5
    assert (again.is_new, again.run.id) == (False, first.run.id)
    assert [recipe.name for recipe in again.run.plan.recipes] == found
