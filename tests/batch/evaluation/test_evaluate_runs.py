"""Runs that evaluate: every vector of a class, here or on workers, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editvec.batch.evaluation.evaluate import EVALUATION_KEY
from editvec.batch.evaluation.planning import EvaluateRequest, open_evaluate_run
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.execution.local import run_locally
from editvec.batch.kinds import open_processor
from editvec.batch.reports.audit import audit
from editvec.batch.runs.entities import RunRecord
from editvec.batch.runs.store import Runs
from editvec.engine.editor import Editor
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.worker_processes import start, worker

Editvec = Callable[..., int]
MakePictures = Callable[..., Path]


def latest(library: Library) -> RunRecord:
    return Runs(library.engine).latest(limit=1)[0]


def measured(library: Library, name: str) -> int:
    """How often a vector was evaluated."""
    metrics = library.get_vector(name, class_name="tiny").metrics
    return sum(one.name == "leakage_psnr" and EVALUATION_KEY in one.settings for one in metrics)


def test_all_vectors_of_a_class_are_evaluated_once(
    run_editvec: Editvec, library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("evaluate", "--all", "--class", "tiny", "--samples", 2, "--output", out)

    assert run_editvec(*words, "--device", "cpu") == 0
    assert "tiny/frown@1" in capsys.readouterr().out
    assert run_editvec(*words, "--device", "cpu", "--json") == 0

    told = json.loads(capsys.readouterr().out)
    assert {row["vector"] for row in told["vectors"]} == {"tiny/smile@1", "tiny/frown@1"}
    assert [measured(library, name) for name in ("smile", "frown")] == [1, 1]
    assert audit(library, latest(library)).problems == []
    assert len(list((out / "pages").glob("*.html"))) == 2
    page = (out / "report.html").read_text()
    assert "leakage_psnr" in page
    assert "evaluate  ·  tiny@1<" in page


def test_what_was_stored_before_a_process_died_is_found_again(
    library: Library, tmp_path: Path
) -> None:
    settings = EvaluateSettings(samples=2)
    request = EvaluateRequest(
        class_name="tiny", address="smile", settings=settings, output_folder=tmp_path / "out"
    )
    run = open_evaluate_run(library, request).run
    editor = Editor.open(library.materialise_bundle(library.get_class("tiny")))
    with open_processor(library, editor, run) as processor:
        inputs = Runs(library.engine).inputs(run.id, 0, 1)
        first = processor.work.do(inputs, lambda: None)  # type: ignore[union-attr]

    run_locally(library, run, device="cpu")

    item = next(iter(Runs(library.engine).items(run.id, states=["done"])))
    assert item.content_key == first.items[0].content_key
    assert measured(library, "smile") == 1


def test_a_vector_that_cannot_be_measured_fails_alone(
    run_editvec: Editvec, library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("evaluate", "--all", "--class", "tiny", "--samples", 2, "--modes", "optimize:1")

    assert run_editvec(*words, "--output", tmp_path / "out", "--device", "cpu") == 3

    assert capsys.readouterr().err.count("optimize needs a wanted mask") == 2
    assert Runs(library.engine).counts(latest(library).id).failed == 2


def test_retry_measures_what_failed_once_and_then_has_nothing_to_do(
    run_editvec: Editvec, library: Library, make_pictures: MakePictures, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source, out = make_pictures(2), tmp_path / "out"
    good = {path: path.read_bytes() for path in source.iterdir()}
    for path in good:
        path.write_bytes(b"no picture")
    words = ("evaluate", "--all", "--class", "tiny", "--probe", source, "--output", out)
    assert run_editvec(*words, "--device", "cpu") == 3
    assert "none of the images can be read" in capsys.readouterr().err
    for path, content in good.items():
        path.write_bytes(content)

    assert run_editvec("batch", "retry", latest(library).id, "--device", "cpu") == 0
    assert run_editvec("batch", "retry", latest(library).id, "--device", "cpu") == 0

    run = latest(library)
    assert run.state == "completed"
    assert Runs(library.engine).counts(run.id).done == 2
    assert [measured(library, name) for name in ("smile", "frown")] == [1, 1]
    assert audit(library, run).problems == []
    assert len(list((out / "pages").glob("*.html"))) == 2
    report = (out / "report.html").read_text()
    assert "none of the images can be read" not in report
    assert "leakage_psnr" in report


def test_an_interrupted_run_is_resumed_by_its_folder(
    run_editvec: Editvec, library: Library, tmp_path: Path
) -> None:
    settings, out = EvaluateSettings(samples=2), tmp_path / "out"
    request = EvaluateRequest(class_name="tiny", settings=settings, output_folder=out)
    run = open_evaluate_run(library, request).run
    editor = Editor.open(library.materialise_bundle(library.get_class("tiny")))
    with open_processor(library, editor, run) as processor:  # it died after the first vector
        inputs = Runs(library.engine).inputs(run.id, 0, 1)
        processor.work.do(inputs, lambda: None)  # type: ignore[union-attr]

    assert run_editvec("batch", "resume", out, "--device", "cpu") == 0

    assert latest(library).state == "completed"
    assert [measured(library, name) for name in ("smile", "frown")] == [1, 1]


@pytest.mark.slow
def test_workers_evaluate_as_this_process_does(
    home: Path, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source = make_pictures(3)
    words = ("evaluate", "--all", "--class", "tiny", "--probe", source)

    with worker(home):
        process = start(home, *words, "--workers", "celery", "--json")
        output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors + (home / "worker.log").read_text()

    theirs = {row["vector"]: row["metrics"] for row in json.loads(output)["vectors"]}
    with Library.open(RegistryConfig.for_home(home)) as library:
        assert audit(library, latest(library)).problems == []
        ours = _here(library, source)
    assert theirs.keys() == ours.keys()
    for address, metrics in ours.items():
        assert theirs[address].keys() == metrics.keys()
        for name in metrics.keys() - {"seconds_per_image"}:
            assert theirs[address][name] == pytest.approx(metrics[name], rel=1e-4), name


def _here(library: Library, source: Path) -> dict[str, Any]:
    """What this process finds."""
    from editvec.batch.evaluation.evaluate import evaluate_vector

    editor = Editor.open(library.materialise_bundle(library.get_class("tiny")))
    found = {}
    for name in ("smile", "frown"):
        vector = library.get_vector(name)
        one = evaluate_vector(library, editor, vector, EvaluateSettings(probe=source))
        found[vector.address] = {each.name: each.value for each in one.table.measures}
    return found
