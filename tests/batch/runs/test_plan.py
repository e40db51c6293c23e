import os
from pathlib import Path

import pytest

from editvec.batch.errors import PlanError, RunConflictError
from editvec.batch.recipes.pinning import parse_edit
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.inputs import sampled_inputs, scan_folder
from editvec.batch.runs.plan import build_request, cut_chunks, require_same_request, resolve_folders


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_inputs_are_the_images_sorted_by_their_bytes(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a/z.jpeg", "B.png", "notes.txt", ".hidden.png", ".git/x.png", "é.png")

    scan = scan_folder(tmp_path)

    assert [one.source for one in scan.inputs] == ["B.png", "a/z.jpeg", "b.PNG", "é.png"]
    assert [one.position for one in scan.inputs] == [0, 1, 2, 3]
    assert scan.other_files == 1


def test_a_name_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(b"x")

    (found,) = scan_folder(tmp_path).inputs

    assert found.relative_path == b"caf\xe9.png"
    assert found.source == "caf\\xe9.png"


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "in/sub/a.png", "elsewhere/b.png")
    (tmp_path / "in/sub/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/self.png").symlink_to("self.png")

    scan = scan_folder(tmp_path / "in")

    assert [one.source for one in scan.inputs] == ["linked/b.png", "self.png", "sub/a.png"]
    assert scan.inputs[1].size is None


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")

    assert [one.source for one in scan_folder(tmp_path).inputs] == ["a.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "closed/b.png")
    (tmp_path / "closed").chmod(0)

    scan = scan_folder(tmp_path)
    (tmp_path / "closed").chmod(0o700)

    assert scan.unreadable == [str(tmp_path / "closed")]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")

    with pytest.raises(PlanError, match=r"no image under .* \(1 other files"):
        scan_folder(tmp_path)


@pytest.mark.parametrize(
    ("source", "target", "complaint"),
    [
        ("missing", "out", "does not exist"),
        ("a.png", "out", "is not a folder"),
        ("in", "in", "is the input folder"),
        ("in", "in/out", "inside the input folder"),
        ("in", "link/out", "inside the input folder"),
        ("in/sub", "in", "inside the output folder"),
        ("in", "a.png", "is not a folder"),
    ],
)
def test_entangled_folders_are_refused(
    tmp_path: Path, source: str, target: str, complaint: str
) -> None:
    touch(tmp_path, "in/sub/x.png", "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")

    with pytest.raises(PlanError, match=complaint):
        resolve_folders(tmp_path / source, tmp_path / target)


def test_a_generated_run_has_numbered_samples_of_one_seed() -> None:
    inputs = sampled_inputs(2, 41)

    assert [(one.source, one.seed) for one in inputs] == [
        ("seed-41-000000", 41),
        ("seed-41-000001", 41),
    ]


def test_chunks_cover_every_input_once() -> None:
    assert [tuple(chunk) for chunk in cut_chunks(70, 32)] == [(0, 32), (32, 32), (64, 6)]


def test_a_changed_parameter_is_refused_and_named(tmp_path: Path) -> None:
    known = build_request("avatars", [parse_edit("smile=1")], tmp_path, RunSettings())
    asked = build_request(
        "avatars", [parse_edit("smile=1")], tmp_path, RunSettings(refine_steps=30)
    )

    require_same_request(known, known, run_id="0" * 32)
    with pytest.raises(RunConflictError, match="refine_steps was 10, now 30"):
        require_same_request(known, asked, run_id="0" * 32)
