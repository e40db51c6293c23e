"""What is computed for the variants of an input, and what is not computed twice."""

from pathlib import Path
from typing import Any

import pytest

from engine.editor import Editor, Segmented
from registry.store import Library
from tests.folder_runs import do, request


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
