"""Runs that embed: a folder's embeddings are in the library before a run needs them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from editvec.batch.embedding.planning import EmbedRequest, open_embed_run
from editvec.batch.execution.local import run_locally
from editvec.batch.kinds import open_processor
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.reports.audit import audit
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.store import Runs
from editvec.engine.editor import Editor
from editvec.registry.library.library import Library

Editvec = Callable[..., int]
MakePictures = Callable[..., Path]


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the engine was asked to embed, call by call."""
    calls: list[int] = []
    embed = Editor.embed

    def counted(self: Editor, images: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(len(images))
        return embed(self, images, *arguments, **options)

    monkeypatch.setattr(Editor, "embed", counted)
    return calls


def latest(library: Library) -> RunRecord:
    return Runs(library.engine).latest(limit=1)[0]


def planned(library: Library, source: Path, **settings: Any) -> RunRecord:
    chosen = RunSettings(**{"embed": "steps:2", **settings})
    request = EmbedRequest(class_name="tiny", input_folder=source, settings=chosen)
    return open_embed_run(library, request).run


@pytest.mark.parametrize(
    "words",
    [
        ("--embed", "steps:2"),
        ("--embed", "target:5", "--space", "W", "--fit", "stretch"),
    ],
)
def test_a_run_over_an_embedded_folder_embeds_nothing(
    words: tuple[str, ...],
    run_editvec: Editvec,
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    embedded: list[int],
) -> None:
    source = make_pictures(5)
    assert run_editvec("embed", source, *words, "--device", "cpu") == 0
    assert sum(embedded) == 5
    assert audit(library, latest(library)).problems == []
    embedded.clear()

    edit = ("--edit", "smile=0:1:2", "--device", "cpu")
    assert run_editvec("batch", "run", source, tmp_path / "out", *edit, *words) == 0

    assert embedded == []
    assert Runs(library.engine).counts(latest(library).id).done == 10


def test_boxes_are_embedded_as_they_are_edited(
    run_editvec: Editvec,
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    embedded: list[int],
) -> None:
    source = make_pictures(1)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file_name,x,y,width,height\n0.png,2,2,12,12\n0.png,14,14,16,16\n")
    words = ("--embed", "steps:2", "--boxes", boxes, "--device", "cpu")
    assert run_editvec("embed", source, *words) == 0
    assert sum(embedded) == 2
    embedded.clear()

    assert run_editvec("batch", "run", source, tmp_path / "out", "--edit", "smile=1", *words) == 0

    assert embedded == []


def test_an_interrupted_run_goes_on_and_embeds_no_image_twice(
    library: Library, make_pictures: MakePictures, embedded: list[int]
) -> None:
    run, leases = planned(library, make_pictures(6), chunk_size=3), Leases(library.engine)
    editor = Editor.open(library.materialise_bundle(library.get_class("tiny")))
    lease = leases.claim(run.id, Owner.current())
    assert lease is not None
    with open_processor(library, editor, run, mini_batch=2) as processor:
        processor.work.do(Runs(library.engine).inputs(run.id, 0, 2), lambda: None)  # type: ignore[union-attr]
    leases.give_back(lease)  # nothing of it was recorded
    assert sum(embedded) == 2

    finished = run_locally(library, run)

    assert finished.state == "completed"
    assert sum(embedded) == 6
    assert audit(library, finished).problems == []


def test_an_unreadable_image_fails_alone(
    run_editvec: Editvec, library: Library, make_pictures: MakePictures
) -> None:
    source = make_pictures(3)
    (source / "1.png").write_bytes(b"no picture")

    assert run_editvec("embed", source, "--embed", "steps:1", "--device", "cpu") == 3

    run = latest(library)
    (failed,) = Runs(library.engine).items(run.id, states=["failed"])
    assert failed.input.source == "1.png"
    assert Runs(library.engine).counts(run.id).done == 2
    line = json.loads((run.plan.output_folder / "failed.jsonl").read_text())
    assert line["source"] == "1.png"
    assert "1.png" in (run.plan.output_folder / "report.html").read_text()


def test_the_audit_names_what_was_evicted(library: Library, make_pictures: MakePictures) -> None:
    run = run_locally(library, planned(library, make_pictures(2)))
    with library.engine.begin() as connection:
        connection.execute(text("DELETE FROM embeddings"))

    problems = audit(library, run).problems

    assert problems == ["not in the library: 0.png", "not in the library: 1.png"]


def test_the_same_command_finds_its_run_and_a_changed_folder_makes_another(
    run_editvec: Editvec,
    library: Library,
    make_pictures: MakePictures,
    embedded: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = make_pictures(2)
    words = ("embed", source, "--embed", "steps:1", "--device", "cpu")
    assert run_editvec(*words) == 0
    assert run_editvec(*words) == 0
    assert "nothing to do for run" in capsys.readouterr().err
    make_pictures(4)  # the first two are what they were

    assert run_editvec(*words) == 0

    assert len(Runs(library.engine).latest()) == 2
    assert embedded == [2, 2]


def test_the_encoder_alone_is_refused(
    run_editvec: Editvec, make_pictures: MakePictures, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_editvec("embed", make_pictures(1), "--embed", "encoder") == 1

    assert "nothing of it is kept" in capsys.readouterr().err


def test_the_digests_of_the_files_that_were_read_are_recorded(
    library: Library, make_pictures: MakePictures
) -> None:
    source = make_pictures(2)
    (source / "broken.png").write_bytes(b"no picture")

    run = run_locally(library, planned(library, source))

    inputs = Runs(library.engine).inputs(run.id, 0, 3)
    digests = {one.source: one.digest for one in inputs}
    for name in ("0.png", "1.png"):
        assert digests[name] == hashlib.sha256((source / name).read_bytes()).hexdigest()
    assert Runs(library.engine).counts(run.id).failed == 1
