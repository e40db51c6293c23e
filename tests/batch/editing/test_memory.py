"""Images at a time: as many as memory has room for, and fewer after there was none."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from editvec.batch.editing.memory import demand_of_run, images_that_fit
from editvec.batch.editing.mini_batches import Variant
from editvec.batch.editing.variants import VariantMaker
from editvec.batch.embedding.work import EmbedWork
from editvec.batch.errors import SettingsError
from editvec.batch.kinds import open_processor
from editvec.batch.recipes.recipe import Recipe
from editvec.batch.recipes.settings import Mode, RunSettings
from editvec.batch.runs.pace import Pace
from editvec.batch.runs.plan import RunPlan, build_request
from editvec.batch.runs.planning import open_run
from editvec.engine.editor import Editor
from editvec.engine.memory import Demand, image_bytes
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Synthesis, SynthesisOutput
from editvec.registry.library.library import Library
from tests.support.folder_runs import request, rows

CONFIG = GeneratorConfig(resolution=1024)


def plan(kind: str = "batch", mode: Mode | None = None, **settings: object) -> RunPlan:
    chosen = RunSettings.from_json({"embed": "encoder", **settings})
    return RunPlan(
        kind=kind,
        class_address="avatars@1",
        generator_digest="1" * 64,
        bundle_digest="2" * 64,
        input_folder=None,
        output_folder=Path("/out"),
        request=build_request("avatars", [], None, chosen),
        recipes=(Recipe(name="a", edits=(), mode=mode),),
        settings=chosen,
    )


@pytest.fixture(autouse=True)
def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITVEC_MAX_MEMORY", raising=False)


def test_what_a_run_does_tells_what_an_image_takes() -> None:
    assert demand_of_run(plan()) is Demand.SEGMENTATION
    assert demand_of_run(plan(embed="steps:20")) is Demand.EMBEDDING
    assert demand_of_run(plan("generate", embed="steps:20", count=1)) is Demand.SEGMENTATION
    assert demand_of_run(plan("embed")) is Demand.SYNTHESIS
    assert demand_of_run(plan(mode="refine")) is Demand.EDITING
    assert demand_of_run(plan(mode=Mode.REFINE)) is Demand.EDITING
    assert demand_of_run(plan("learn")) is Demand.EDITING


def test_as_many_images_as_fit_and_one_at_least(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    each = image_bytes(CONFIG, Demand.SEGMENTATION)

    def fit(max_memory: int | None = None) -> int:
        demand = Demand.SEGMENTATION
        return images_that_fit(CONFIG, demand, device="cpu", most=16, max_memory=max_memory)

    assert fit(1000 * each) == 16
    assert not caplog.records
    assert fit(3 * each) == 3
    assert "3 instead of 16 images at a time: one takes about" in caplog.text
    assert fit(1) == 1
    monkeypatch.setattr("editvec.batch.editing.memory.free_bytes", lambda device: 10 * each)
    assert fit() == 8
    monkeypatch.setattr("editvec.batch.editing.memory.free_bytes", lambda device: None)
    assert fit() == 16
    monkeypatch.setenv("EDITVEC_MAX_MEMORY", str(2 * each))
    assert fit() == 2
    monkeypatch.setenv("EDITVEC_MAX_MEMORY", "much")
    with pytest.raises(SettingsError, match="EDITVEC_MAX_MEMORY: size: expected bytes such as"):
        fit()


def test_what_did_not_fit_is_not_tried_again_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pace = Pace(plan(), resolution=8, mini_batch=16)

    pace.did_not_fit(16)
    pace.did_not_fit(16)
    pace.did_not_fit(8)

    assert pace.batch_size == 4
    texts = [record.getMessage() for record in caplog.records]
    assert texts == [
        "out of memory with 16 images together: 8 from now on",
        "out of memory with 8 images together: 4 from now on",
    ]


def test_a_run_that_runs_out_of_memory_ends_with_fewer_at_a_time(
    make_pictures: Callable[..., Path],
    run_editvec: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sizes: list[int] = []
    make = VariantMaker.make

    def make_few(self: VariantMaker, prepared: Sequence[object], number: int) -> Variant:
        sizes.append(len(prepared.ws))  # type: ignore[attr-defined]
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return make(self, prepared, number)  # type: ignore[arg-type]

    monkeypatch.setattr(VariantMaker, "make", make_few)
    words = ["batch", "run", make_pictures(9), tmp_path / "out", "--edit", "smile=1"]

    status = run_editvec(*words, "--batch-size", "4", "--device", "cpu")

    assert status == 0
    assert len(rows(tmp_path / "out")) == 9
    assert sizes.count(4) <= 2, "one that was being read already"
    told = [text for text in caplog.messages if text.startswith("out of memory")]
    assert told == ["out of memory with 4 images together: 2 from now on"]


def test_the_option_bounds_a_run(
    make_pictures: Callable[..., Path],
    run_editvec: Callable[..., int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["batch", "run", make_pictures(3), tmp_path / "out", "--edit", "smile=1"]

    assert run_editvec(*words, "--max-memory", "500kB", "--device", "cpu") == 0
    assert "1 instead of 16 images at a time" in caplog.text
    assert len(rows(tmp_path / "out")) == 3
    assert run_editvec(*words, "--max-memory", "much") == 2
    assert "size: expected bytes such as 10GB" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "evaluate smile --samples 3",
        "disentangle smile frown --samples 3",
        "discover mean found --attribute smiling --samples 48 --probes 3",
    ],
)
def test_what_measures_keeps_to_the_memory_too(
    run_editvec: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    words: str,
) -> None:
    sizes: list[int] = []
    forward = Synthesis.with_features

    def few(self: Synthesis, ws: torch.Tensor, **options: Any) -> SynthesisOutput:
        sizes.append(len(ws))
        return forward(self, ws, **options)

    monkeypatch.setattr(Synthesis, "with_features", few)
    monkeypatch.setenv("EDITVEC_MAX_MEMORY", "500kB")

    run_editvec(*words.split(), "--device", "cpu")

    told = [text for text in caplog.messages if "instead of 16 images at a time" in text]
    assert told
    assert len(set(told)) == len(told)
    assert sizes
    assert max(sizes) <= 2


def test_work_on_one_input_at_a_time_tells_of_no_fewer(
    library: Library,
    make_pictures: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(EmbedWork, "most_at_a_time", 1)
    run = open_run(library, request(make_pictures(2), tmp_path / "out", "smile=1")).run
    alone = dataclasses.replace(run, kind="embed")
    editor = Editor.open(library.materialise_bundle(library.get_class("tiny")))

    with open_processor(library, editor, alone, max_memory=1) as processor:
        assert processor.pace.batch_size == 1
    assert not caplog.records
