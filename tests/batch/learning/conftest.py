"""A library with the class `tiny`, and a mask pair that it can learn from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from editvec.batch.workbench import Workbench
from editvec.engine.editor import Editor
from editvec.registry.config import RegistryConfig
from tests.support.mask_pairs import MOUTH, Files, write_files


@pytest.fixture
def bench(tmp_path: Path, tiny_bundle: Path) -> Iterator[Workbench]:
    """A fresh library with the class `tiny`."""
    config = RegistryConfig.for_home(tmp_path / "home")
    with Workbench.open(config, device="cpu") as bench:
        bench.library.add_bundle(tiny_bundle)
        yield bench


@pytest.fixture(scope="session")
def drawn(tiny_bundle: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A picture that the class can make, and its segmentation."""
    editor = Editor.open(tiny_bundle)
    made = editor.synthesize_with_mask(editor.sample(1, seed=1))
    pixels = ((made.images[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).numpy(), made.mask[0].to(torch.uint8).numpy()


@pytest.fixture
def files(tmp_path: Path, drawn: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]) -> Files:
    """A mouth is painted into the middle of the picture's mask."""
    pixels, before = drawn
    after = before.copy()
    after[18:24, 8:24] = MOUTH
    return write_files(tmp_path, pixels, before, after)
