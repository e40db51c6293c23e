"""The demo tells its story once, touches nothing but its folder, and can be told again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import editvec.cli
from editvec.avatars import starter
from editvec.avatars.drawing import attributes
from editvec.avatars.drawing.parameters import PARAMETERS
from editvec.batch import demo
from editvec.batch.errors import PlanError
from editvec.batch.recipes.settings import Mode, RunSettings
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.library.library import Library

PHOTOS = 3


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """The same story with few photographs and few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "PHOTO_COUNT", PHOTOS)
        patch.setattr(demo, "SETTINGS", replace(demo.SETTINGS, embed="encoder", refine_steps=1))
        patch.setattr(starter, "NUM_STEPS", 4)
        yield


@pytest.fixture(scope="module")
def told(quick: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a demo, and what it said."""
    out = tmp_path_factory.mktemp("demo") / "with space"
    said: list[str] = []
    outcome = demo.run_demo(
        RegistryConfig.for_home(out / "home"),
        out,
        device="cpu",
        say=said.append,
    )
    assert outcome.images == PHOTOS * len(demo.RUNS)
    assert not outcome.with_failures
    return out, said + outcome.closing_lines("editvec --home H")


def _rows(out: Path, name: str) -> list[dict[str, object]]:
    text = (out / name / "metadata.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_story_is_numbered_and_ends_with_where_to_look(told: tuple[Path, list[str]]) -> None:
    out, said = told

    numbers = [line[0] for line in said if line[:1].isdigit()]
    assert numbers == [str(number + 1) for number in range(4 + len(demo.RUNS))]
    assert any(str(out / "contact_sheet.png") in line for line in said)
    assert sum("editvec --home H" in line for line in said) == 3


def test_every_run_leaves_images_masks_and_labels(told: tuple[Path, list[str]]) -> None:
    out, _ = told

    for name in demo.RUNS:
        rows = _rows(out, name)
        assert len(rows) == PHOTOS
        for row in rows:
            assert row["attributes"] == {name: 1.0}
            for key in ("file_name", "mask_file_name"):
                with Image.open(out / name / str(row[key])) as picture:
                    assert picture.size == (starter.RESOLUTION, starter.RESOLUTION)
        assert (out / name / "report.html").is_file()


def test_contact_sheet_shows_all_runs(told: tuple[Path, list[str]]) -> None:
    out, _ = told

    with Image.open(out / "contact_sheet.png") as sheet:
        sheet.load()
        assert sheet.height > 128 * len(demo.RUNS)


def test_library_holds_the_learned_and_the_composed_vector(
    told: tuple[Path, list[str]],
) -> None:
    out, _ = told

    with Library.open(RegistryConfig.for_home(out / "home")) as library:
        learned = library.get_vector(f"avatars/{starter.SURPRISE.name}")
        composed = library.get_vector(f"avatars/{demo.COMPOSED}")
        names = {vector.name for vector in library.find_vectors(VectorQuery(kind="learned"))}

    assert len(learned.pairs) == 1
    assert learned.address in [term.address for term in composed.terms]
    assert {one.name for one in starter.STARTERS} <= names


def test_telling_it_again_does_nothing_twice(told: tuple[Path, list[str]]) -> None:
    out, _ = told
    before = {
        path: path.stat().st_mtime_ns
        for name in ("photos", *demo.RUNS)
        for path in (out / name).rglob("*.png")
    }

    outcome = demo.run_demo(
        RegistryConfig.for_home(out / "home"), out, device="cpu", say=lambda _: None
    )

    assert outcome.images == PHOTOS * len(demo.RUNS)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with Library.open(RegistryConfig.for_home(out / "home")) as library:
        assert {vector.version for vector in library.find_vectors()} == {1}


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.png").write_bytes(b"mine")

    with pytest.raises(PlanError, match="other files"):
        demo.run_demo(RegistryConfig.for_home(tmp_path / "home"), tmp_path, say=lambda _: None)

    assert [path.name for path in tmp_path.rglob("*")] == ["photos", "mine.png"]


def test_command_keeps_its_library_in_its_folder(
    quick: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDITVEC_HOME", str(tmp_path / "users"))
    monkeypatch.setattr(demo, "RUNS", {"smile": Mode.VECTOR})

    status = editvec.cli.main(["demo", str(tmp_path / "out"), "--device", "cpu"])

    assert status == 0
    assert "Look at" in capsys.readouterr().out
    assert (tmp_path / "out" / "home" / "editvec.db").is_file()
    assert not (tmp_path / "users").exists()


# The photographs.


def test_most_people_do_not_smile_and_some_do() -> None:
    params = demo.people(48)

    smiling = attributes.present(params)[:, attributes.ATTRIBUTE_NAMES.index("smiling")]
    assert params.shape == (48, len(PARAMETERS))
    assert 0 < smiling.sum() < 12


def test_photographs_lie_in_sub_folders_and_are_written_once(tmp_path: Path) -> None:
    demo.write_photographs(tmp_path / "photos")
    files = sorted((tmp_path / "photos").rglob("*.png"))
    first = {path: path.stat().st_mtime_ns for path in files}
    files[0].write_bytes(b"damaged")

    demo.write_photographs(tmp_path / "photos")

    assert len(files) == demo.PHOTO_COUNT
    assert len({path.parent for path in files}) == 3
    assert {path: path.stat().st_mtime_ns for path in files[1:]} == dict(list(first.items())[1:])
    with Image.open(files[0]) as picture:
        picture.load()


def test_settings_of_the_runs_are_valid() -> None:
    assert RunSettings.from_json(demo.SETTINGS.to_json()) == demo.SETTINGS
