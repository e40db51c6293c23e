"""A device that runs out of memory, or stops working, in the middle of a run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from editvec.batch.editing.mini_batches import Prepared, Variant
from editvec.batch.editing.variants import VariantMaker
from editvec.batch.errors import DeviceLostError
from editvec.batch.execution.local import run_locally
from editvec.batch.reports.audit import audit
from editvec.batch.runs.models import Chunk
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library
from editvec.registry.tables.database import reading
from tests.support.folder_runs import do, request, rows

MakePictures = Callable[..., Path]


@pytest.mark.parametrize("step", ["images_of", "latents_of", "make"])
def test_what_does_not_fit_into_memory_is_halved_until_every_item_is_done(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    source = make_pictures(12)
    do(library, request(source, tmp_path / "undisturbed", "smile=0:1:2"))
    whole, sizes = getattr(VariantMaker, step), []

    def limited(self: VariantMaker, subject: Any, *others: Any, **named: Any) -> Any:
        count = len(subject.positions) if isinstance(subject, Prepared) else len(subject)
        if count > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.30 GiB")
        sizes.append(count)
        return whole(self, subject, *others, **named)

    monkeypatch.setattr(VariantMaker, step, limited)
    run = do(library, request(source, tmp_path / "out", "smile=0:1:2"), mini_batch=12)

    assert run.state == "completed"
    assert set(sizes) == {3}
    assert [row["content_key"] for row in rows(tmp_path / "out")] == [
        row["content_key"] for row in rows(tmp_path / "undisturbed")
    ]
    assert audit(library, run).problems == []


def test_one_image_that_never_fits_fails_alone(
    library: Library, make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = VariantMaker.images_of

    def limited(self: VariantMaker, inputs: Sequence[Any]) -> Any:
        if any(one.input.position == 4 for one in inputs):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, inputs)

    monkeypatch.setattr(VariantMaker, "images_of", limited)
    run = do(library, request(make_pictures(8), tmp_path / "out", "smile=1"))

    assert run.state == "completed_with_failures"
    (failed,) = rows(tmp_path / "out", "failed.jsonl")
    assert (failed["source"], failed["reason"]) == ("4.png", "out of memory, even alone")
    assert Runs(library.engine).counts(run.id).done == 7


def fail_like_a_dead_context() -> None:
    raise torch.AcceleratorError("CUDA error: device-side assert triggered")


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered\nmore"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_a_dead_device_ends_the_process_and_is_no_item_s_fault(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    wanted = request(make_pictures(6), tmp_path / "out", "smile=0:1:2", chunk_size=3)
    opened, made = open_run(library, wanted), []
    whole = VariantMaker.make

    def dying(self: VariantMaker, *arguments: Any) -> Variant:
        made.append(arguments)
        if len(made) == 2:
            raise error
        return whole(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(VariantMaker, "make", dying)
        # a dead context fails whatever is asked of it
        patch.setattr(torch.cuda, "is_initialized", lambda: True)
        patch.setattr(torch.cuda, "synchronize", fail_like_a_dead_context)
        with pytest.raises(DeviceLostError, match="it stopped working"):
            run_locally(library, opened.run)

    with reading(library.engine) as session:
        chunks = session.query(Chunk).filter_by(run_id=opened.run.id).all()
        assert {(chunk.state, chunk.attempts) for chunk in chunks} == {("pending", 0)}
    counts = Runs(library.engine).counts(opened.run.id)
    assert (counts.failed, counts.done) == (0, 3), "what was made before is kept"
    run = do(library, wanted)
    assert run.state == "completed"
    assert audit(library, run).problems == []


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
    ],
)
def test_a_device_that_still_answers_was_only_full(
    library: Library,
    make_pictures: MakePictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    whole = VariantMaker.make

    def limited(self: VariantMaker, prepared: Any, number: int) -> Variant:
        if len(prepared.ws) > 2:
            raise error
        return whole(self, prepared, number)

    monkeypatch.setattr(VariantMaker, "make", limited)
    run = do(library, request(make_pictures(5), tmp_path / "out", "smile=1"))

    assert run.state == "completed"
