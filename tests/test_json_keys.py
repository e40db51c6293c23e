"""What `--json` says: one spelling of keys, and one key for one thing, in all commands."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editvec.registry.library.library import Library

KEY = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

OTHER_WORDS = {"class_name", "path", "out", "output", "id_of_run", "run"}
"""What `class`, `file`, `output_folder` and `run_id` were called in some command."""

OF_DATA = {
    "metrics",
    "settings",
    "groups",
    "items",
    "skipped",
    "moved",
    "details",
    "built",
    "recipe",
}
"""Their keys are names of metrics, files and parts, not ours."""


def keys_of(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for entry in value:
            yield from keys_of(entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield key
            if key not in OF_DATA:
                yield from keys_of(entry)


@pytest.fixture
def told(run_editvec: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What a command says with `--json`; its keys are spelled as all are."""

    def ask(*words: object) -> Any:
        capsys.readouterr()
        assert run_editvec(*words, "--json") == 0, words
        found = json.loads(capsys.readouterr().out)
        keys = set(keys_of(found))
        assert [key for key in keys if not KEY.fullmatch(key)] == []
        assert keys.isdisjoint(OTHER_WORDS)
        return found

    return ask


def test_classes_and_vectors_have_the_same_keys_everywhere(
    told: Callable[..., Any], library: Library, tmp_path: Path
) -> None:
    (model,) = told("model", "list")
    assert (model["class"], model["version"], model["address"]) == ("tiny", 1, "tiny@1")
    assert told("model", "show", "tiny").items() >= model.items()
    tar = tmp_path / "tiny.tar"
    assert told("model", "export", "tiny", tar) == {**model, "file": str(tar)}
    assert told("model", "add", tar) == model
    assert told("model", "verify") == [{"address": "tiny@1", "faults": []}]

    listed = {one["address"]: one for one in told("registry", "list")}
    smile = listed["tiny/smile@1"]
    assert (smile["class"], smile["class_version"], smile["name"]) == ("tiny", 1, "smile")
    assert told("registry", "show", "smile").items() >= smile.items()
    assert told("registry", "alias", "smile", "stable")["class"] == "tiny"
    assert told("registry", "tag", "smile", "--add", "a")["address"] == "tiny/smile@1"
    terms = ("--term", "smile=1", "--term", "frown=1")
    assert told("registry", "compose", "both", *terms)["class"] == "tiny"
    archive = tmp_path / "a.zip"
    assert told("registry", "export", archive, "smile") == {
        "file": str(archive),
        "vectors": ["tiny/smile@1"],
    }
    assert told("registry", "import", archive)[0]["vector"]["class"] == "tiny"
    assert told("registry", "history", "smile")
    told("registry", "verify")
    told("registry", "gc", "--dry-run")
    found = told("discover", "ganspace", "pc", "--count", 1, "--samples", 20, "--probes", 0)
    assert [one["class"] for one in found] == ["tiny"]
    png = tmp_path / "preview.png"
    preview = told("registry", "preview", "smile", "--count", 1, "--scales", "0:1:2", "-o", png)
    assert (preview["address"], preview["file"]) == ("tiny/smile@1", str(png))


def test_runs_and_files_have_the_same_keys_everywhere(
    told: Callable[..., Any], library: Library, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    source, out = make_pictures(2), tmp_path / "out"
    run = told("batch", "run", source, out, "--edit", "smile=1")
    assert run["output_folder"] == str(out)
    assert told("batch", "list") == [run]
    for command in ("status", "resume", "report", "audit", "cancel"):
        assert told("batch", command, out)["run_id"] == run["run_id"], command
    assert "run_id" in told("embed", source, "--embed", "steps:1")

    picture = tmp_path / "grid.png"
    assert told("model", "sample", "tiny", picture, "--count", 2) == {"file": str(picture)}
    bundle = tmp_path / "bundle"
    told("model", "export", "tiny", bundle)
    assert told("engine", "verify", bundle)["class"] == "tiny"
    sampled = told("engine", "sample", bundle, tmp_path / "samples", "--count", 1)
    assert sampled["files"]
    delta, edited = tmp_path / "delta.npy", tmp_path / "edited.png"
    vector = library.get_vector("smile")
    np.save(delta, np.zeros((vector.num_ws, vector.w_dim), np.float32))
    words = ("engine", "apply", bundle, delta, sampled["files"][0], edited, "--embed-steps", 0)
    assert told(*words)["file"] == str(edited)
    evaluated = told("evaluate", "smile", "--samples", 2)
    assert evaluated["address"] == "tiny/smile@1"
    together = told("disentangle", "smile", "frown", "--samples", 2)
    assert [one["address"] for one in together["vectors"]] == ["tiny/smile@1", "tiny/frown@1"]
    for words in (("doctor",), ("db", "current"), ("db", "upgrade"), ("kernels", "show")):
        told(*words)
