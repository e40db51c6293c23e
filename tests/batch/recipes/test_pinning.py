"""Versions, aliases and retired vectors in the edits of runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from editvec.batch.errors import RecipeError
from editvec.batch.execution.local import run_locally
from editvec.batch.recipes.pinning import parse_edit, pin_vector
from editvec.batch.recipes.recipe import PinnedVector
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.registry.entities.vectors import NewVector
from editvec.registry.errors import AliasNotFoundError
from editvec.registry.library.library import Library


def pin(library: Library, text: str) -> PinnedVector:
    return pin_vector(library, library.get_class("tiny"), parse_edit(text))[0].vector


def add_second_smile(library: Library) -> None:
    model = library.get_class("tiny")
    delta = np.ones((model.num_ws, model.w_dim), np.float32)
    library.add_vector(NewVector(class_name="tiny", name="smile", roi_labels=("mouth",)), delta)


@pytest.mark.parametrize(
    ("typed", "address", "attribute"),
    [
        ("smile", "tiny/smile@2", "smile"),
        ("tiny/smile", "tiny/smile@2", "smile"),
        ("smile@1", "tiny/smile@1", "smile@1"),
        ("smile@stable", "tiny/smile@1", "smile@1"),
        ("tiny/smile@latest", "tiny/smile@2", "smile@2"),
    ],
)
def test_attribute_has_the_version_where_one_was_asked_for(
    library: Library, typed: str, address: str, attribute: str
) -> None:
    add_second_smile(library)
    library.set_alias("smile@1", "stable")

    pinned = pin(library, f"{typed}=0.5")

    assert (pinned.address, pinned.attribute) == (address, attribute)


def test_bare_name_passes_a_retired_version_over(library: Library) -> None:
    add_second_smile(library)
    library.retire("smile@2", reason="leaks")

    assert pin(library, "smile=1").address == "tiny/smile@1"


def test_retired_vector_is_refused_for_a_new_run(library: Library) -> None:
    library.retire("smile@1", reason="leaks")

    with pytest.raises(RecipeError, match="edit: tiny/smile@1 is retired since"):
        pin(library, "smile@1=0.5")


def test_unknown_alias_is_refused(library: Library) -> None:
    with pytest.raises(AliasNotFoundError, match="no alias 'stable'"):
        pin(library, "smile@stable=1")


def test_run_that_was_planned_before_a_vector_retired_is_finished(
    library: Library, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    wanted = RunRequest(
        class_name="tiny",
        input_folder=make_pictures(1),
        output_folder=tmp_path / "out",
        edits=[parse_edit("smile=1")],
        settings=RunSettings(),
        force_scale=False,
    )
    planned = open_run(library, wanted).run
    library.retire("smile@1", reason="leaks")

    again = open_run(library, wanted).run

    assert again.id == planned.id
    assert run_locally(library, again).state == "completed"
