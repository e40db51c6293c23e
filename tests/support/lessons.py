"""Pictures of class `tiny` with masks in which a mouth was painted: lessons for vectors."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MOUTH = 4


@functools.cache
def _drawn(bundle: Path, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A picture that the class can make, and its segmentation."""
    import torch

    from editvec.engine.editor import Editor

    editor = Editor.open(bundle)
    made = editor.synthesize_with_mask(editor.sample(1, seed=seed))
    pixels = ((made.images[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).numpy(), made.mask[0].to(torch.uint8).numpy()


def write_lesson(folder: Path, bundle: Path, name: str, *, seed: int) -> dict[str, Any]:
    """Writes one picture with its two masks; returns its entry of a list."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels, before = _drawn(bundle, seed)
    after = before.copy()
    after[18:24, 8:24] = MOUTH
    for suffix, array in (("", pixels), (".mask", before), (".edited", after)):
        Image.fromarray(array).save(folder / f"{name}{suffix}.png")
    return {
        "address": f"tiny/{name}",
        "image": f"{name}.png",
        "mask_before": f"{name}.mask.png",
        "mask_after": f"{name}.edited.png",
    }


def write_lessons(folder: Path, bundle: Path, names: tuple[str, ...]) -> Path:
    """Writes lessons of different pictures, and says in files beside them what is to be edited."""
    for seed, name in enumerate(names):
        path = folder / name
        write_lesson(path.parent, bundle, path.name, seed=seed)
        path.with_suffix(".json").write_text('{"roi_labels": ["mouth"]}')
    return folder
