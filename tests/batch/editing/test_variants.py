"""What is computed for the variants of an input, and what is not computed twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session

from editvec.batch.recipes.settings import Composite
from editvec.engine.editor import Editor, Segmented
from editvec.engine.networks.generator import Synthesis
from editvec.registry.library.library import Library
from editvec.registry.tables.models import EmbeddingRow
from tests.support.folder_runs import do, request, rows


def test_an_unedited_sample_is_synthesized_once(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesize, batches = Editor.synthesize_with_mask, []

    def counted(self: Editor, ws: Any, **options: Any) -> Segmented:
        batches.append(len(ws))
        return synthesize(self, ws, **options)

    monkeypatch.setattr(Editor, "synthesize_with_mask", counted)

    run = do(library, request(None, tmp_path / "out", "smile=1", count=3))

    assert run.state == "completed"
    assert batches == [3, 3]  # the samples, and what the edit makes of them


@pytest.mark.parametrize("composite", Composite)
def test_the_reconstruction_of_a_photograph_is_synthesized_once(
    library: Library,
    make_pictures: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    composite: Composite,
) -> None:
    forward, counts = Synthesis.with_features, []

    def counted(self: Synthesis, ws: Any, **options: Any) -> Any:
        counts.append(len(ws))
        return forward(self, ws, **options)

    monkeypatch.setattr(Synthesis, "with_features", counted)

    run = do(library, request(make_pictures(3), tmp_path / "out", "smile=1", composite=composite))

    assert run.state == "completed"
    assert counts == [3, 3]  # the reconstruction, and what the edit makes of it


def test_a_shared_reconstruction_has_the_error_of_one_of_its_own(
    library: Library, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_pictures(3)

    do(library, request(source, tmp_path / "shared", "smile=1", composite=Composite.FEATHER))
    with Session(library.engine) as session:
        session.execute(delete(EmbeddingRow))
        session.commit()
    do(library, request(source, tmp_path / "own", "smile=1", composite=Composite.NONE))

    shared, own = (
        [row["metrics"]["reconstruction"] for row in rows(tmp_path / name)]
        for name in ("shared", "own")
    )
    assert shared == own
    assert all(row["psnr"] > 0 for row in own)
