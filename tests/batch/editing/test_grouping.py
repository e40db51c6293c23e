"""What equal content keys promise, whatever is computed together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sqlalchemy import delete
from sqlalchemy.orm import Session

from editvec.batch.runs.store import Runs
from editvec.registry.library.library import Library
from editvec.registry.tables.models import EmbeddingRow

Editvec = Callable[..., int]
MakePictures = Callable[..., Path]

VECTOR = ("--edit", "smile=1", "--composite", "none")
STEPS = (*VECTOR, "--embed", "steps:4")
REFINE = (*VECTOR, "--mode", "refine", "--refine-steps", "4")


@pytest.fixture
def run_batch(
    run_editvec: Editvec, library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Path]:
    """Edits a folder into another one, without embeddings of earlier runs."""

    def run(source: Path, name: str, size: int, *words: str, status: int = 0) -> Path:
        forget_embeddings(library)
        out = tmp_path / name
        command = ("batch", "run", source, out, "--device", "cpu", "--batch-size", size, *words)
        assert run_editvec(*command) == status
        capsys.readouterr()
        return out

    return run


def forget_embeddings(library: Library) -> None:
    with Session(library.engine) as session:
        session.execute(delete(EmbeddingRow))
        session.commit()


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    lines = (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["file_name"]: row for row in map(json.loads, lines)}


def files_of(out: Path) -> dict[str, bytes]:
    """Every picture and mask by its name."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for folder in ("images", "masks")
        for path in (out / folder).rglob("*.png")
    }


def pixels_of(out: Path, column: str) -> npt.NDArray[np.int16]:
    """All pictures, or all masks, in the order of their names."""
    rows = rows_of(out)
    return np.stack(
        [np.asarray(Image.open(out / rows[name][column])) for name in sorted(rows)]
    ).astype(np.int16)


@pytest.mark.parametrize("words", [VECTOR, STEPS, REFINE], ids=["vector", "steps", "refine"])
def test_one_at_a_time_the_same_bytes_come_however_a_run_is_cut_and_retried(
    run_batch: Callable[..., Path],
    run_editvec: Editvec,
    make_pictures: MakePictures,
    library: Library,
    words: tuple[str, ...],
) -> None:
    source = make_pictures(5)
    at_once = run_batch(source, "at-once", 1, *words)
    in_chunks = run_batch(source, "in-chunks", 1, *words, "--chunk-size", "2")
    good = (source / "1.png").read_bytes()
    (source / "1.png").write_bytes(b"no picture")
    retried = run_batch(source, "retried", 1, *words, status=3)
    (source / "1.png").write_bytes(good)
    forget_embeddings(library)
    (run,) = Runs(library.engine).latest(limit=1)
    assert run_editvec("batch", "retry", run.id, "--device", "cpu", "--batch-size", "1") == 0

    expected = files_of(at_once)
    assert len(expected) == 10
    assert files_of(in_chunks) == expected
    assert files_of(retried) == expected


def test_batch_sizes_change_no_key_and_a_value_by_one_at_most(
    run_batch: Callable[..., Path], make_pictures: MakePictures
) -> None:
    source = make_pictures(16)
    outs = [run_batch(source, f"by-{size}", size, *VECTOR) for size in (16, 7, 1)]

    first = rows_of(outs[0])
    pictures, masks = pixels_of(outs[0], "file_name"), pixels_of(outs[0], "mask_file_name")
    for out in outs[1:]:
        assert [without_metrics(row) for row in rows_of(out).values()] == [
            without_metrics(row) for row in first.values()
        ]
        assert np.abs(pixels_of(out, "file_name") - pictures).max() <= 1
        assert np.mean(pixels_of(out, "mask_file_name") != masks) < 1e-3


@pytest.mark.parametrize("words", [STEPS, REFINE], ids=["steps", "refine"])
def test_batch_sizes_change_no_key_and_little_where_steps_are_made(
    run_batch: Callable[..., Path], make_pictures: MakePictures, words: tuple[str, ...]
) -> None:
    source = make_pictures(16)
    outs = [run_batch(source, f"by-{size}", size, *words) for size in (16, 7, 1)]

    first, pictures = rows_of(outs[0]), pixels_of(outs[0], "file_name")
    for out in outs[1:]:
        assert {name: row["content_key"] for name, row in rows_of(out).items()} == {
            name: row["content_key"] for name, row in first.items()
        }
        assert np.abs(pixels_of(out, "file_name") - pictures).mean() < 0.5


def test_another_edit_has_another_key(
    run_batch: Callable[..., Path], make_pictures: MakePictures
) -> None:
    source = make_pictures(2)
    asked = [VECTOR, STEPS, REFINE, ("--edit", "smile=1"), ("--edit", "smile=2")]
    outs = [run_batch(source, f"way-{number}", 16, *words) for number, words in enumerate(asked)]

    keys = [{row["content_key"] for row in rows_of(out).values()} for out in outs]
    assert all(len(one) == 2 for one in keys)
    assert len(set().union(*keys)) == 2 * len(asked)


def without_metrics(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "metrics"}
