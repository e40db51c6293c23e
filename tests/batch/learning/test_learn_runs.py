"""Runs that learn: every job is an item, killed at any moment none is learned twice."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from editvec.batch.errors import LeaseLostError, SettingsError
from editvec.batch.execution.local import run_locally
from editvec.batch.kinds import open_processor
from editvec.batch.learning.jobs import read_jobs
from editvec.batch.learning.learn import JOB_KEY
from editvec.batch.learning.planning import open_learn_run
from editvec.batch.learning.request import LearnSettings
from editvec.batch.learning.work import LearnWork
from editvec.batch.reports.audit import audit
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.leases import Leases
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.store import Runs
from editvec.engine.editor import Editor
from editvec.registry.library.library import Library
from tests.support.lessons import write_lesson, write_lessons
from tests.support.worker_processes import ROOT

Editvec = Callable[..., int]
FAST = LearnSettings(num_steps=2, embed="steps:1")


@pytest.fixture
def lessons(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A folder of three lessons: `grin`, `pout` and `sub/wink`."""
    return write_lessons(tmp_path / "lessons", tiny_bundle, ("grin", "pout", "sub/wink"))


def opened(library: Library, lessons: Path) -> RunRecord:
    return open_learn_run(library, read_jobs(lessons, defaults=FAST)).run


def learned(library: Library) -> list[str]:
    """The addresses of the vectors that were learned from jobs."""
    return [one.address for one in library.find_vectors() if JOB_KEY in one.settings]


def latest(library: Library) -> RunRecord:
    return Runs(library.engine).latest(limit=1)[0]


def test_every_job_of_a_folder_becomes_a_vector(
    run_editvec: Editvec, library: Library, lessons: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("learn", "--lessons", lessons, "--steps", "2", "--embed", "steps:1", "--device", "cpu")

    assert run_editvec(*words, "--json") == 0

    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "learn"
    assert [row["vector"] for row in told["vectors"]] == [
        "tiny/grin@1",
        "tiny/pout@1",
        "tiny/wink@1",
    ]
    run = latest(library)
    assert run.kind == "learn"
    assert run.state == "completed"
    assert audit(library, run).problems == []
    vector = library.get_vector("tiny/grin@1")
    assert vector.roi_labels == ("mouth",)
    assert vector.settings["num_steps"] == 2
    rows = [
        json.loads(line)
        for line in (run.plan.output_folder / "results.jsonl").read_text().splitlines()
    ]
    assert rows[0]["delta_digest"] == vector.delta_digest
    assert rows[0]["metrics"]["success_iou"] == vector.latest_metrics[0].value
    page = (run.plan.output_folder / "report.html").read_text()
    assert "tiny/wink@1" in page


def test_the_same_command_again_finds_its_run(
    run_editvec: Editvec, library: Library, lessons: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("learn", "--lessons", lessons, "--steps", "2", "--embed", "steps:1", "--device", "cpu")
    assert run_editvec(*words) == 0
    capsys.readouterr()

    assert run_editvec(*words) == 0

    told = capsys.readouterr()
    assert "nothing to do for run" in told.err
    assert "tiny/pout@1" in told.out
    assert len(Runs(library.engine).latest()) == 1
    assert len(learned(library)) == 3


def test_a_job_that_fails_fails_alone(
    run_editvec: Editvec, library: Library, lessons: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lessons / "grin.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(lessons / "sub" / "wink.edited.png")
    words = ("learn", "--lessons", lessons, "--steps", "2", "--embed", "steps:1", "--device", "cpu")

    assert run_editvec(*words) == 3

    run = latest(library)
    assert run.state == "completed_with_failures"
    failed = list(Runs(library.engine).items(run.id, states=["failed"]))
    assert [item.input.source for item in failed] == ["grin.png", "sub/wink.png"]
    assert all(item.reason and "\n" not in item.reason for item in failed)
    assert "wink.edited.png" in str(failed[1].reason)
    assert learned(library) == ["tiny/pout@1"]
    assert "failed 000000-grin: " in capsys.readouterr().err
    assert audit(library, run).problems == []


def test_retry_learns_what_was_mended_and_nothing_else(
    run_editvec: Editvec, library: Library, lessons: Path
) -> None:
    picture = (lessons / "grin.png").read_bytes()
    (lessons / "grin.png").write_bytes(b"no picture")
    run_locally(library, opened(library, lessons))
    (lessons / "grin.png").write_bytes(picture)

    assert run_editvec("batch", "retry", latest(library).id, "--device", "cpu") == 0

    assert sorted(learned(library)) == ["tiny/grin@1", "tiny/pout@1", "tiny/wink@1"]
    assert audit(library, latest(library)).problems == []


def test_a_vector_that_was_added_before_the_end_came_is_not_added_again(
    library: Library, lessons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, leases = opened(library, lessons), Leases(library.engine)
    editor = Editor.open(library.materialise_bundle(library.get_class("tiny")))
    lease = leases.claim(run.id, Owner.current())
    assert lease is not None

    def die(*_arguments: object, **_options: object) -> None:
        raise SystemExit  # after the vector was added, before its item was recorded

    with monkeypatch.context() as patch, open_processor(library, editor, run) as processor:
        patch.setattr(Leases, "finish", die)
        patch.setattr(Leases, "give_back", lambda *_arguments: None)
        with pytest.raises(SystemExit):
            processor.process(lease)
    assert learned(library) == ["tiny/grin@1"]
    leases.give_back(lease)
    # another device, or other threads: the same job gives another delta in the last bits
    torch.manual_seed(1)
    learn = Editor.learn
    monkeypatch.setattr(
        Editor,
        "learn",
        lambda self, *a, **o: (found := learn(self, *a, **o))._replace(
            deltas=found.deltas * 1.0001
        ),
    )

    finished = run_locally(library, run)

    assert finished.state == "completed"
    assert sorted(learned(library)) == ["tiny/grin@1", "tiny/pout@1", "tiny/wink@1"]
    assert audit(library, finished).problems == []


def test_who_lost_the_lease_while_learning_adds_nothing(
    library: Library, lessons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, leases = opened(library, lessons), Leases(library.engine)
    editor = Editor.open(library.materialise_bundle(library.get_class("tiny")))
    lease = leases.claim(run.id, Owner.current())
    assert lease is not None
    learn = Editor.learn

    def slowly(self: Editor, *arguments: Any, **options: Any) -> Any:
        leases.give_back(lease)  # as the reaper does when it expired
        return learn(self, *arguments, **options)

    monkeypatch.setattr(Editor, "learn", slowly)
    with open_processor(library, editor, run) as processor, pytest.raises(LeaseLostError):
        processor.process(lease)

    assert learned(library) == []
    assert Runs(library.engine).counts(run.id).finished == 0


def test_who_fails_because_the_lease_is_gone_says_that_it_is(
    library: Library, lessons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, leases = opened(library, lessons), Leases(library.engine)
    editor = Editor.open(library.materialise_bundle(library.get_class("tiny")))
    lease = leases.claim(run.id, Owner.current())
    assert lease is not None

    def wake(*_arguments: Any) -> Any:
        leases.give_back(lease)  # as the reaper does when it expired
        raise FileNotFoundError("a file that somebody cleaned away meanwhile")

    monkeypatch.setattr(LearnWork, "do", wake)
    with open_processor(library, editor, run) as processor, pytest.raises(LeaseLostError):
        processor.process(lease)


def test_a_job_of_another_run_is_not_learned_again(library: Library, lessons: Path) -> None:
    run_locally(library, opened(library, lessons))
    (lessons / "grin.edited.png").touch()  # another command, as far as files tell

    second = opened(library, lessons)
    finished = run_locally(library, second)

    assert second.id != Runs(library.engine).latest()[1].id
    assert finished.state == "completed"
    assert len(learned(library)) == 3


def test_a_killed_run_is_resumed_by_its_id(
    home: Path, library: Library, lessons: Path, run_editvec: Editvec
) -> None:
    program = f"""
import os, signal, sys
import editvec.cli
from editvec.batch.learning.work import LearnWork

def do(self, inputs, require_lease):
    if inputs[0].position == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, inputs, require_lease)

whole, LearnWork.do = LearnWork.do, do
editvec.cli.main(["--home", {str(home)!r}, "learn", "--lessons", {str(lessons)!r},
              "--steps", "2", "--embed", "steps:1", "--device", "cpu"])
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run = latest(library)
    assert learned(library) == ["tiny/grin@1"]

    status = run_editvec("batch", "resume", run.id[:8])

    assert status == 0
    assert sorted(learned(library)) == ["tiny/grin@1", "tiny/pout@1", "tiny/wink@1"]
    resumed = latest(library)
    assert (resumed.id, resumed.kind, resumed.state) == (run.id, "learn", "completed")
    assert audit(library, resumed).problems == []


def test_a_changed_picture_is_recorded(library: Library, lessons: Path) -> None:
    run = opened(library, lessons)
    (lessons / "grin.png").write_bytes((lessons / "pout.png").read_bytes() + b"\0")

    finished = run_locally(library, run)

    (failed,) = Runs(library.engine).items(finished.id, states=["failed"])
    assert "changed since the run was planned" in str(failed.reason)


def test_cancel_stops_before_the_next_job(
    run_editvec: Editvec, library: Library, lessons: Path
) -> None:
    run = opened(library, lessons)

    assert run_editvec("batch", "cancel", run.id) == 0

    cancelled = Runs(library.engine).get(run.id)
    assert cancelled.state == "cancelled"
    assert Runs(library.engine).counts(run.id).cancelled == 3
    assert learned(library) == []
    assert audit(library, cancelled).problems == []


def test_the_audit_misses_a_vector_and_finds_an_altered_one(
    library: Library, lessons: Path
) -> None:
    run = run_locally(library, opened(library, lessons))
    blob = library.get_vector("tiny/grin@1").delta_digest
    path = next(library.config.home.rglob(blob))
    path.chmod(0o644)
    path.write_bytes(b"altered")
    (run.plan.output_folder / "results.jsonl").write_text("")

    problems = audit(library, run).problems

    assert any(one.startswith("not in the library: tiny/grin@1 (") for one in problems)
    assert "not in results.jsonl: 000001-pout" in problems


@pytest.mark.parametrize("command", ["status", "report", "audit", "list"])
def test_commands_about_runs_know_such_a_run(
    command: str,
    run_editvec: Editvec,
    library: Library,
    lessons: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (lessons / "pout.edited.png").write_bytes(b"")
    run = run_locally(library, opened(library, lessons))
    capsys.readouterr()
    words = () if command == "list" else (run.id[:8],)

    assert run_editvec("batch", command, *words) == 0
    assert run_editvec("batch", command, *words, "--json") == 0

    out = capsys.readouterr().out
    expected = {"status": "pout.edited.png", "report": "report.html", "audit": "0 problems"}
    assert expected.get(command, run.id[:8]) in out


# --- lists and folders ---


def test_a_file_beside_a_picture_says_more_about_its_job(lessons: Path) -> None:
    (lessons / "grin.mask.png").unlink()
    said = {"roi_labels": ["mouth"], "tags": ["joy"], "settings": {"num_steps": 7}}
    (lessons / "grin.json").write_text(json.dumps(said))

    jobs = read_jobs(lessons, defaults=FAST)

    assert [request.address for request in jobs.requests] == ["grin", "pout", "wink"]
    grin, pout, _ = jobs.requests
    assert (grin.mask_before, grin.roi_labels, grin.tags) == (None, ("mouth",), ("joy",))
    assert (grin.settings.num_steps, grin.settings.embed) == (7, "steps:1")
    assert pout.mask_before == lessons / "pout.mask.png"


def test_pictures_without_an_edited_mask_are_left_out_with_a_note(lessons: Path) -> None:
    shutil.copy(lessons / "grin.png", lessons / "lonely.jpg")

    jobs = read_jobs(lessons)

    assert len(jobs.requests) == 3
    assert jobs.notes == [
        "1 pictures without an edited mask (NAME.edited.png) are left out",
    ]


def test_a_mask_without_its_picture_fails_with_that_reason(library: Library, lessons: Path) -> None:
    (lessons / "pout.png").unlink()

    run = run_locally(library, opened(library, lessons))

    (failed,) = Runs(library.engine).items(run.id, states=["failed"])
    assert "pout.png: No such file" in str(failed.reason)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("grin.jpg", b"", "expected one picture, found grin.jpg, grin.png"),
        ("grin.json", b"[]", "expected an object"),
        ("grin.json", b'{"image": "other.png"}', "expected an object without image"),
        ("grin.json", b'{"colour": 1}', "unknown"),
        ("a b.edited.png", b"", "vector name"),
    ],
)
def test_a_folder_that_is_no_folder_of_jobs_is_refused(
    lessons: Path, name: str, content: bytes, message: str
) -> None:
    (lessons / name).write_bytes(content)

    with pytest.raises(SettingsError, match=message):
        read_jobs(lessons)


def test_a_folder_without_edited_masks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(SettingsError, match=r"NAME\.edited\.png"):
        read_jobs(tmp_path / "empty")


def test_jobs_of_two_classes_are_refused(library: Library, lessons: Path) -> None:
    (lessons / "grin.json").write_text('{"address": "cars/grin"}')
    (lessons / "pout.json").write_text('{"address": "tiny/pout"}')

    with pytest.raises(SettingsError, match="a run learns for one class, tiny"):
        open_learn_run(library, read_jobs(lessons), class_name="tiny")


def test_addresses_with_versions_are_kept(
    library: Library, tmp_path: Path, tiny_bundle: Path
) -> None:
    entries = [
        write_lesson(tmp_path / "l", tiny_bundle, name, seed=seed)
        | {"address": f"tiny/grin@{version}", "settings": {"num_steps": 2, "embed": "steps:1"}}
        for seed, (name, version) in enumerate((("a", 7), ("b", 7)))
    ]
    (tmp_path / "l" / "jobs.json").write_text(json.dumps({"vectors": entries}))

    run = run_locally(library, open_learn_run(library, read_jobs(tmp_path / "l/jobs.json")).run)

    assert learned(library) == ["tiny/grin@7"]
    (failed,) = Runs(library.engine).items(run.id, states=["failed"])
    assert "holds other content" in str(failed.reason)
