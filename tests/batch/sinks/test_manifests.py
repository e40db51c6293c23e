"""What run.json and the lines of the manifests say of runs that went well and of others."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from editvec.batch.recipes.settings import Composite
from editvec.batch.runs.entities import RunCounts
from editvec.batch.runs.planning import open_run
from editvec.batch.sinks.manifests import lines, run_summary
from editvec.registry.library.library import Library
from tests.support.folder_runs import do, request, rows

MakePictures = Callable[..., Path]
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_run_json_tells_the_run_its_counts_and_its_time(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(3), tmp_path / "out"
    (source / "0.png").write_bytes(b"no picture")

    run = do(library, request(source, out, "smile=0:1:2"))

    told = json.loads((out / "run.json").read_text())
    labels = library.get_class("tiny").labels
    begun, ended = (datetime.fromisoformat(told[f"{name}_at"]) for name in ("started", "finished"))
    assert told["run_id"] == run.id
    assert (told["kind"], told["class"]) == ("batch", "tiny@1")
    assert (told["input_folder"], told["output_folder"]) == (str(source), str(out))
    assert (told["counts"]["inputs"], told["counts"]["done"], told["counts"]["failed"]) == (3, 4, 2)
    assert [recipe["name"] for recipe in told["recipes"]] == ["smile+0.00", "smile+1.00"]
    assert told["labels"] == [
        {"index": place, "name": label.name, "color": list(label.color)}
        for place, label in enumerate(labels)
    ]
    assert datetime.fromisoformat(told["created_at"]) <= begun <= ended
    assert told["seconds"] == round((ended - begun).total_seconds(), 3)


def test_a_run_that_never_started_took_no_time(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    run = open_run(library, request(make_pictures(1), tmp_path / "out", "smile=1")).run
    model = library.get_class("tiny")
    counts = RunCounts(total=1)
    end = START + timedelta(seconds=61.2346)

    over = replace(run, state="cancelled", finished_at=end)
    idle = run_summary(replace(over, started_at=None), model, counts, now=end)
    busy = run_summary(replace(run, started_at=START), model, counts, now=end)

    assert (idle["seconds"], idle["started_at"]) == (0.0, idle["finished_at"])
    assert (busy["seconds"], busy["started_at"]) == (61.235, START.isoformat())
    assert (idle["state"], busy["state"]) == ("cancelled", run.state)


def test_leftovers_have_lines_of_their_own_with_the_reason(
    library: Library, make_pictures: MakePictures, tmp_path: Path
) -> None:
    source, out = make_pictures(2), tmp_path / "out"
    (source / "0.png").write_bytes(b"no picture")

    do(library, request(source, out, "smile=1", max_leakage=0.0, composite=Composite.FEATHER))

    (failed,), (rejected,) = rows(out, "failed.jsonl"), rows(out, "rejected.jsonl")
    assert rows(out) == []
    assert (failed["source"], failed["recipe"], failed["state"]) == (
        "0.png",
        "smile+1.00",
        "failed",
    )
    assert "0.png" in failed["reason"] or "picture" in failed["reason"]
    assert failed["metrics"] is None
    assert (rejected["source"], rejected["state"]) == ("1.png", "rejected")
    assert rejected["metrics"]["leakage"]
    assert "color" not in rejected["metrics"]
    assert isinstance(rejected["color"], str)


def test_lines_are_json_without_numbers_that_json_lacks() -> None:
    assert list(lines([{"ü": 1}, {}])) == ['{"ü": 1}\n'.encode(), b"{}\n"]
    with pytest.raises(ValueError, match="Out of range float values"):
        list(lines([{"x": float("nan")}]))
