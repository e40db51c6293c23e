"""Training sets in which an attribute is rare, and what may be added to them.

Rendered avatars, so that every label is exact. Added are the set's own negatives, edited by a run
of the product; samples of the generator with the labels that the class's networks give; or renders.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from editvec.avatars import default
from editvec.avatars.building.dataset import as_images
from editvec.avatars.drawing import attributes, parameters
from editvec.avatars.drawing.render import render
from editvec.batch.execution.local import run_locally
from editvec.batch.recipes.pinning import parse_edit
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.runs.planning import RunRequest, open_run
from editvec.engine.networks.classifier import AttributeClassifier
from editvec.registry.library.library import Library

RESOLUTION = 64
HELD_OUT_SEED = 1_400_000  # of renders that no network of the class has seen, as those below
_TRAINING_SEED, _FURTHER_SEED = 1_000_000, 1_100_000
_DRAWN_AT_ONCE, _AT_ONCE = 512, 100
_MOST_BLOCKS = 1000  # between the seeds of two sets


@dataclass(frozen=True)
class Case:
    """An attribute that is rare, and the vector that brings it about.

    Attributes:
        attribute: Name of the attribute.
        vector: Of the starter library.
        scales: As typed behind the `=` of an edit.
        parts: Parts that the attribute shows in.
        gates: Bounds of the run, as `RunSettings` calls them.
    """

    attribute: str
    vector: str
    scales: str
    parts: tuple[str, ...]
    gates: Mapping[str, float]


CASES = (
    Case(
        "smiling",
        "smile",
        "uniform(0.6,1.2)",
        ("mouth", "teeth"),
        {"max_leakage": 0.006},
    ),
    Case(
        "eyes_closed",
        "close-eyes",
        "uniform(0.9,1.25)",
        ("eye", "iris"),
        {"max_leakage": 0.006},
    ),
)


@dataclass(frozen=True)
class Making:
    """How a run makes the edited images.

    Attributes:
        name: Of its folder.
        scales: As typed; None means the case's.
        gated: Whether the case's gates reject images.
        settings: Of the run, where they are not the defaults.
    """

    name: str = "edited"
    scales: str | None = None
    gated: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


class Examples(NamedTuple):
    """Labelled pictures.

    Attributes:
        pixels: uint8 [N, H, W, 3].
        mask: Parts, uint8 [N, H, W].
        positive: Whether the attribute is said to be there, bool [N].
    """

    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    positive: npt.NDArray[np.bool_]

    def __add__(self, other: object) -> "Examples":
        """Both, one after the other."""
        if not isinstance(other, Examples):
            return NotImplemented
        return Examples(
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.mask, other.mask]),
            np.concatenate([self.positive, other.positive]),
        )

    def where(self, chosen: npt.NDArray[np.bool_] | slice) -> "Examples":
        """Some of them: bool [N], or a slice."""
        return Examples(self.pixels[chosen], self.mask[chosen], self.positive[chosen])


def rare_set(attribute: str, *, seed: int, count: int, share: float) -> Examples:
    """A training set in which exactly `share` of `count` renders show the attribute."""
    positives = round(share * count)
    return _drawn(attribute, positives, count - positives, first_seed=_TRAINING_SEED, seed=seed)


def further_positives(attribute: str, *, seed: int, count: int) -> Examples:
    """Renders that show the attribute, other ones than those of the training sets."""
    return _drawn(attribute, count, 0, first_seed=_FURTHER_SEED, seed=seed)


def held_out_set(attribute: str, *, count: int) -> Examples:
    """Renders to measure on, half of which show the attribute; the same for every seed."""
    return _drawn(attribute, count // 2, count - count // 2, first_seed=HELD_OUT_SEED, seed=0)


def edited(
    library: Library, case: Case, making: Making, rare: Examples, folder: Path, *, count: int
) -> Examples:
    """Negatives of a training set that a run has edited, with the masks that it wrote.

    Args:
        library: With the class and its vectors.
        case: The attribute.
        making: How.
        rare: The training set.
        folder: Of inputs and runs; what is there already is not made again.
        count: Images at most: the first that no gate rejects.

    Returns:
        The edited images, all called positive, for that is what the edit intends.
    """
    photos = folder / "negatives"
    _write_pictures(photos, rare.pixels[~rare.positive])
    gates = case.gates if making.gated else {}
    request = RunRequest(
        class_name=default.CLASS_NAME,
        input_folder=photos,
        output_folder=folder / making.name,
        edits=[parse_edit(f"{case.vector}={making.scales or case.scales}")],
        settings=RunSettings.from_json({**gates, **making.settings}),
        force_scale=True,
    )
    images, masks = _run(library, request, count)
    return Examples(images, masks, np.ones(len(images), bool))


def sampled(
    library: Library,
    classifier: AttributeClassifier,
    attribute: str,
    folder: Path,
    *,
    seed: int,
    count: int,
) -> Examples:
    """Samples of the generator, labelled by the class's own classifier and segmentation branch."""
    request = RunRequest(
        class_name=default.CLASS_NAME,
        input_folder=None,
        output_folder=folder / "samples",
        edits=[],
        settings=RunSettings(count=count, seed=1000 + seed),
    )
    images, masks = _run(library, request, count)
    return Examples(images, masks, sees(classifier, attribute, images))


def own_masks_outside(made: Examples, rare: Examples, folder: Path) -> Examples:
    """Edited images with the training set's masks wherever the edit left the pixels alone."""
    names = [str(row["source"]) for row in _rows(folder)][: len(made.pixels)]
    places = [int(Path(name).stem) for name in names]
    before = rare.where(~rare.positive)
    kept = (made.pixels == before.pixels[places]).all(axis=3)
    return made._replace(mask=np.where(kept, before.mask[places], made.mask))


def sees(
    classifier: AttributeClassifier, attribute: str, pixels: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Whether the class's classifier sees the attribute, bool [N]."""
    column = classifier.index(attribute)
    with torch.inference_mode():
        logits = [
            classifier(as_images(pixels[start : start + _AT_ONCE]))[:, column]
            for start in range(0, len(pixels), _AT_ONCE)
        ]
    answers: npt.NDArray[np.bool_] = (torch.cat(logits) > 0).numpy()
    return answers


def _drawn(
    attribute: str, positives: int, negatives: int, *, first_seed: int, seed: int
) -> Examples:
    """The first of each kind that the prior draws, in mixed order."""
    column = attributes.ATTRIBUTE_NAMES.index(attribute)
    chosen: list[parameters.FloatArray] = []
    for wanted, kind in ((positives, True), (negatives, False)):
        found: list[parameters.FloatArray] = []
        for params in _blocks(first_seed + _MOST_BLOCKS * seed):
            if sum(map(len, found)) >= wanted:
                break
            found.append(params[attributes.present(params)[:, column] == kind])
        chosen.append(np.concatenate(found)[:wanted] if wanted else np.empty((0, 32)))
    params = np.concatenate([one for one in chosen if len(one)])
    order = np.random.default_rng(first_seed + seed).permutation(len(params))
    params = params[order]
    drawn = render(params, RESOLUTION)
    return Examples(drawn.pixels, drawn.mask, attributes.present(params)[:, column])


def _blocks(first_seed: int) -> Iterator[parameters.FloatArray]:
    for block in range(_MOST_BLOCKS):
        yield parameters.sample(_DRAWN_AT_ONCE, seed=first_seed + block)


def _write_pictures(folder: Path, pixels: npt.NDArray[np.uint8]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pixels):
        path = folder / f"{number:05}.png"
        if not path.exists():  # a run that is gone on with refuses files that are newer than it
            temporary = path.with_suffix(".partial")
            Image.fromarray(picture).save(temporary, format="png")
            temporary.replace(path)


def _run(
    library: Library, request: RunRequest, count: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Do what a command `batch run` or `batch generate` does; read what it wrote."""
    run = open_run(library, request).run
    if not run.is_finished:
        run_locally(library, run)
    rows = _rows(request.output_folder)[:count]
    return _read(request.output_folder, [str(row["file_name"]) for row in rows]), _read(
        request.output_folder, [str(row["mask_file_name"]) for row in rows]
    )


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Lines of a run's metadata.jsonl, by input."""
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda row: str(row["file_name"]))


def _read(folder: Path, names: Sequence[str]) -> npt.NDArray[np.uint8]:
    pictures = []
    for name in names:
        with Image.open(folder / name) as picture:
            pictures.append(np.asarray(picture))
    return np.stack(pictures)
