"""Images of a probe set that are none of the class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from editvec.engine.editor import Editor
from editvec.engine.images.images import to_pixels, write_png
from editvec.registry.library.library import Library


@pytest.fixture
def editor(library: Library) -> Editor:
    return Editor.open(library.materialise_bundle(library.get_class("tiny")), device="cpu")


@pytest.mark.parametrize("command", ["evaluate smile", "disentangle smile frown"])
def test_images_that_are_none_of_the_class_are_named(
    command: str, run_editvec: Callable[..., int], editor: Editor, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "in").mkdir()
    made = to_pixels(editor.synthesize(editor.sample(2, 0)).clamp(-1, 1))
    noise = np.random.default_rng(0).integers(0, 256, made[0].shape, dtype=np.uint8)
    for name, pixels in zip(("a", "b", "noise"), (*made, noise), strict=True):
        write_png(tmp_path / "in" / f"{name}.png", pixels)
    words = (*command.split(), "--probe", tmp_path / "in", "--embed", "steps:60")

    assert run_editvec(*words, "--device", "cpu") == 0
    shown = capsys.readouterr().out
    assert run_editvec(*words, "--device", "cpu", "--json") == 0

    assert "1 of 3 images hardly look like class tiny (noise.png): the reconstruction" in shown
    assert json.loads(capsys.readouterr().out)["unlike"] == ["noise.png"]
