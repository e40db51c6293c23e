"""The images of the smile benchmark: neutral faces, the masks they should get, and references.

neutral/   faces that neither smile nor frown, with the mouth closed
few/       the first of them, for what takes long
wanted/    the renderer's masks of the same faces with a smile
held-out/  other faces, as the prior has them
smiling/   those of them that smile
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.avatars.drawing import attributes, parameters
from editvec.avatars.drawing.render import render
from editvec.avatars.starter import STARTERS

FIRST_SEED = 60_000  # far from those that the shipped networks were trained and judged on
_BATCH = 256
_NOT_NEUTRAL = ("smiling", "frowning", "mouth_open")
_SMILE = next(one for one in STARTERS if one.name == "smile")

Facts = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Faces:
    """Folders of one seed and size.

    Attributes:
        root: Of all.
        count: Faces in `neutral`.
        few_count: Faces in `few`.
        reference_count: Faces in `held_out`.
        smiling_count: Faces in `smiling`.
    """

    root: Path
    count: int
    few_count: int
    reference_count: int
    smiling_count: int

    @property
    def neutral(self) -> Path:
        """Pictures to edit."""
        return self.root / "neutral"

    @property
    def few(self) -> Path:
        """The first of them."""
        return self.root / "few"

    @property
    def wanted(self) -> Path:
        """Masks, named like the pictures."""
        return self.root / "wanted"

    @property
    def held_out(self) -> Path:
        """Reference: everybody."""
        return self.root / "held-out"

    @property
    def smiling(self) -> Path:
        """Reference: who smiles."""
        return self.root / "smiling"


def write_faces(
    out: Path, *, count: int, few_count: int, reference_count: int, seed: int, resolution: int
) -> Faces:
    """Render everything, or find what the same call wrote before.

    Args:
        out: Where to; a folder of this seed and size is made in it.
        count: Neutral faces.
        few_count: How many of them `few` gets.
        reference_count: Faces of the reference, before those that smile are chosen.
        seed: At least 0; other seeds give other faces.
        resolution: Height and width in pixels.
    """
    name = f"seed-{seed}-{count}-{few_count}-{reference_count}-{resolution}px"
    root, partial = out / name, out / f"{name}.partial"
    if not root.exists():
        shutil.rmtree(partial, ignore_errors=True)
        first = FIRST_SEED + 1000 * seed
        neutral = _drawn(count, first, _is_neutral)
        pixels = render(neutral, resolution).pixels
        _write(partial / "neutral", pixels)
        _write(partial / "few", pixels[:few_count])
        smiles = parameters.with_values(neutral, **_SMILE.after)
        _write(partial / "wanted", render(smiles, resolution).mask)
        others = _drawn(reference_count, first + 500, lambda params: np.ones(len(params), bool))
        pixels = render(others, resolution).pixels
        _write(partial / "held-out", pixels)
        _write(partial / "smiling", pixels[_has(others, "smiling")])
        partial.rename(root)
    smiling = len(list((root / "smiling").iterdir()))
    return Faces(root, count, few_count, reference_count, smiling)


def _is_neutral(params: parameters.FloatArray) -> Facts:
    facts: Facts = ~np.any([_has(params, name) for name in _NOT_NEUTRAL], axis=0)
    return facts


def _has(params: parameters.FloatArray, name: str) -> Facts:
    facts: Facts = attributes.present(params)[:, attributes.ATTRIBUTE_NAMES.index(name)]
    return facts


def _drawn(
    count: int, seed: int, keep: Callable[[parameters.FloatArray], Facts]
) -> parameters.FloatArray:
    """The first faces of the prior that are kept, [count, P]."""
    found: list[parameters.FloatArray] = []
    while sum(map(len, found)) < count:
        some = parameters.sample(_BATCH, seed=seed)
        found.append(some[keep(some)])
        seed += 1
    return np.concatenate(found)[:count]


def _write(folder: Path, pictures: npt.NDArray[np.uint8]) -> None:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:04}.png")
