"""Where a run may write, and whose files it leaves alone."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from editvec.batch.embedding.planning import EmbedRequest, open_embed_run
from editvec.batch.errors import PlanError, RunConflictError
from editvec.batch.recipes.pinning import parse_edit
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library

MakePictures = Callable[..., Path]


def generated(output_folder: Path) -> RunRequest:
    return RunRequest(
        class_name="tiny",
        input_folder=None,
        output_folder=output_folder,
        edits=[parse_edit("smile=1")],
        settings=RunSettings(count=1),
    )


@pytest.mark.parametrize(
    "name",
    [
        *("metadata.jsonl", "rejected.jsonl", "failed.jsonl", "results.jsonl", "shards.jsonl"),
        *("annotations.json", "run.json", "report.html", "contact_sheet.png"),
    ],
)
def test_a_file_of_somebody_else_is_refused_by_name_and_stays(
    library: Library, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")

    with pytest.raises(RunConflictError, match=name):
        open_run(library, generated(tmp_path))

    assert (tmp_path / name).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["home", name])


@pytest.mark.parametrize("name", ["images", "masks", "shards", "pages"])
def test_a_folder_of_somebody_else_is_refused_by_name(
    library: Library, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()

    with pytest.raises(RunConflictError, match=name):
        open_run(library, generated(tmp_path))


def test_a_link_that_leads_nowhere_is_refused(library: Library, tmp_path: Path) -> None:
    (tmp_path / "report.html").symlink_to(tmp_path / "missing")

    with pytest.raises(RunConflictError, match=r"report\.html"):
        open_run(library, generated(tmp_path))


def test_files_that_a_run_does_not_write_are_no_hindrance(library: Library, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    assert open_run(library, generated(tmp_path)).is_new


@pytest.mark.parametrize("place", [".", "new", "runs", "runs/new", "bundles/x", "blobs/ab"])
def test_a_run_of_images_is_refused_in_the_home_folder(
    library: Library, home: Path, place: str
) -> None:
    with pytest.raises(PlanError, match=r"lies in the (home folder|blob store)"):
        open_run(library, generated(home / place))


def test_a_link_into_the_home_folder_is_seen_through(
    library: Library, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(home)

    with pytest.raises(PlanError, match="home folder"):
        open_run(library, generated(tmp_path / "link" / "new"))


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_run_is_refused_in_a_blob_store_elsewhere(
    home: Path, tmp_path: Path, scheme: str
) -> None:
    store = tmp_path / "store"
    shutil.copytree(home / "blobs", store)
    config = RegistryConfig.for_home(home)

    with (
        Library.open(dataclasses.replace(config, blob_url=f"{scheme}{store}")) as library,
        pytest.raises(PlanError, match="blob store"),
    ):
        open_run(library, generated(store / "new"))


def test_a_folder_beside_the_home_folder_that_begins_like_it_is_taken(
    library: Library, home: Path
) -> None:
    assert open_run(library, generated(home.with_name(f"{home.name}-out"))).is_new


def embedding(source: Path, output_folder: Path | None) -> EmbedRequest:
    return EmbedRequest(
        class_name="tiny",
        input_folder=source,
        output_folder=output_folder,
        settings=RunSettings(embed="steps:1"),
    )


def test_a_run_that_adds_to_the_library_has_its_folder_below_the_runs(
    library: Library, home: Path, make_pictures: MakePictures
) -> None:
    opened = open_embed_run(library, embedding(make_pictures(1), None))

    assert opened.run.plan.output_folder.parent == (home / "runs").resolve()


@pytest.mark.parametrize("place", [".", "new", "runs", "blobs"])
def test_a_run_that_adds_to_the_library_is_refused_elsewhere_in_the_home_folder(
    library: Library, home: Path, make_pictures: MakePictures, place: str
) -> None:
    with pytest.raises(PlanError, match="lies in the"):
        open_embed_run(library, embedding(make_pictures(1), home / place))
