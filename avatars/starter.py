"""The mask pairs that the starter library is learned from, made with the exact renderer.

Each pair is what an artist would hand in: a picture, its part mask, and the same mask with one
attribute repainted. Here the repainting is done by rendering the same face again with that
attribute's parameters changed.

`python -m editvec.avatars.starter DIR` writes the pairs as files, with a `starter.json` that
`editvec learn --lessons` reads.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.avatars.drawing.parameters import PARAMETERS, FloatArray, from_normal, with_values
from editvec.avatars.drawing.render import LABEL_COLORS, render
from editvec.outputs import output_folder, overwrite_option

CLASS_NAME = "avatars"
RESOLUTION = 64
NUM_STEPS = 100

# Faces are drawn from the middle of the prior: a delta learned there fits more faces than one
# that was learned from an extreme face.
_SPREAD = 0.5

_PLAIN: Mapping[str, float] = {
    "smile": -0.1,
    "mouth_opening": 0.1,
    "mouth_width": 0.29,
    "eye_opening": 0.62,
    "eye_size": 0.2,
    "gaze_x": 0.0,
    "gaze_y": 0.0,
    "brow_height": 0.0,
    "brow_angle": 0.0,
    "nose_size": 0.068,
    "fringe": 0.3,
    "tilt": 0.0,
}
"""A calm face, on which every edit of the library is visible."""


class StarterPair(NamedTuple):
    """A picture and its part mask before and after an edit.

    Attributes:
        pixels: RGB, uint8 [H, W, 3].
        mask_before: Exact labels of the picture, uint8 [H, W].
        mask_after: The same with the attribute repainted, uint8 [H, W].
    """

    pixels: npt.NDArray[np.uint8]
    mask_before: npt.NDArray[np.uint8]
    mask_after: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Starter:
    """One vector of the starter library and the edit that it is learned from.

    Attributes:
        name: Name of the vector.
        description: One sentence for the people who choose it.
        roi_labels: Parts that the edit may touch.
        seed: Which face the pair shows.
        before: Parameters that make the attribute absent.
        after: Parameters of the edit, changed on top of `before`.
    """

    name: str
    description: str
    roi_labels: tuple[str, ...]
    seed: int
    before: Mapping[str, float]
    after: Mapping[str, float]

    @property
    def address(self) -> str:
        """Where `learn` stores the vector: class and name."""
        return f"{CLASS_NAME}/{self.name}"

    def parameters(self) -> FloatArray:
        """The face before the edit, [1, P]."""
        normals = np.random.default_rng(self.seed).standard_normal((1, len(PARAMETERS)))
        return with_values(from_normal(_SPREAD * normals), **{**_PLAIN, **self.before})

    def mask_pair(self, resolution: int = RESOLUTION) -> StarterPair:
        """Render the picture, its mask and the edited mask.

        Args:
            resolution: Height and width in pixels.
        """
        before = self.parameters()
        drawn = render(np.concatenate([before, with_values(before, **self.after)]), resolution)
        return StarterPair(drawn.pixels[0], drawn.mask[0], drawn.mask[1])


STARTERS: tuple[Starter, ...] = (
    Starter(
        "smile",
        "Turns the corners of the mouth up.",
        ("mouth", "teeth"),
        seed=11,
        before={"smile": -0.6, "mouth_opening": 0.3},
        after={"smile": 0.9},
    ),
    Starter(
        "frown",
        "Turns the corners of the mouth down.",
        ("mouth", "teeth"),
        seed=23,
        before={"smile": 0.4, "mouth_opening": 0.15},
        after={"smile": -0.8},
    ),
    Starter(
        "open-mouth",
        "Opens the mouth and shows the teeth.",
        ("mouth", "teeth"),
        seed=31,
        before={"smile": 0.2, "mouth_opening": 0.05},
        after={"mouth_opening": 0.9},
    ),
    Starter(
        "close-eyes",
        "Closes both eyes.",
        ("eye", "iris"),
        seed=43,
        before={"eye_opening": 0.6},
        after={"eye_opening": 0.02},
    ),
    Starter(
        "wide-eyes",
        "Opens both eyes wide.",
        ("eye", "iris"),
        seed=53,
        before={"eye_opening": 0.3},
        after={"eye_opening": 1.0},
    ),
    Starter(
        "look-left",
        "Turns the gaze to the left of the picture.",
        ("eye", "iris"),
        seed=61,
        before={"eye_opening": 0.8, "gaze_x": 0.5},
        after={"gaze_x": -0.95},
    ),
    Starter(
        "look-right",
        "Turns the gaze to the right of the picture.",
        ("eye", "iris"),
        seed=71,
        before={"eye_opening": 0.8, "gaze_x": -0.5},
        after={"gaze_x": 0.95},
    ),
    Starter(
        "raise-brows",
        "Lifts both eyebrows.",
        ("brow",),
        seed=83,
        before={"brow_height": -0.5, "fringe": 0.1},
        after={"brow_height": 0.6},
    ),
    Starter(
        "longer-hair",
        "Lets the hair grow down to the shoulders.",
        ("hair",),
        seed=97,
        before={"hair_length": 0.2},
        after={"hair_length": 0.8},
    ),
    Starter(
        "stern",
        "Draws the inner ends of the eyebrows down.",
        ("brow",),
        seed=19,
        before={"brow_angle": 0.5, "brow_height": -0.1, "fringe": 0.1},
        after={"brow_angle": -0.9},
    ),
    Starter(
        "worried",
        "Draws the inner ends of the eyebrows up.",
        ("brow",),
        seed=29,
        before={"brow_angle": -0.5, "brow_height": -0.1, "fringe": 0.1},
        after={"brow_angle": 0.9},
    ),
)
"""The starter library; the order is that of the listing."""

SURPRISE = Starter(
    "surprise",
    "Drops the jaw, opens the eyes wide and lifts the eyebrows.",
    ("brow", "eye", "iris", "mouth", "teeth"),
    seed=113,
    before={"smile": 0.1, "mouth_opening": 0.15, "eye_opening": 0.5, "brow_height": -0.3},
    after={"mouth_opening": 0.6, "eye_opening": 0.95, "brow_height": 0.7},
)
"""The vector that the demo learns while one watches; not part of the library."""


def write_pair(
    starter: Starter, folder: Path, *, resolution: int = RESOLUTION
) -> dict[str, object]:
    """Write a mask pair as three PNG files.

    Args:
        starter: Which pair.
        folder: Where to; made if it is missing.
        resolution: Height and width in pixels.

    Returns:
        The pair's entry of a pair list, as `editvec learn --lessons` reads it; its file names are
        relative to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pair = starter.mask_pair(resolution)
    names = {part: f"{starter.name}.{part}.png" for part in ("image", "before", "after")}
    Image.fromarray(pair.pixels).save(folder / names["image"], optimize=True)
    for part, mask in (("before", pair.mask_before), ("after", pair.mask_after)):
        picture = Image.fromarray(mask)
        picture.putpalette(LABEL_COLORS.tobytes())
        picture.save(folder / names[part], optimize=True)
    return {
        "address": starter.address,
        "image": names["image"],
        "mask_before": names["before"],
        "mask_after": names["after"],
        "roi_labels": list(starter.roi_labels),
        "description": starter.description,
        "settings": {"preset": "learn", "num_steps": NUM_STEPS},
    }


def write_starters(folder: Path, *, resolution: int = RESOLUTION) -> Path:
    """Write every pair of the library and the list of them.

    Args:
        folder: Where to; made if it is missing.
        resolution: Height and width of the pictures in pixels.

    Returns:
        The list, `folder/starter.json`.
    """
    entries = [write_pair(starter, folder, resolution=resolution) for starter in STARTERS]
    listing = folder / "starter.json"
    listing.write_text(json.dumps({"vectors": entries}, indent=2) + "\n", encoding="utf-8")
    return listing


@click.command()
@click.argument(
    "folder",
    required=False,
    type=click.Path(file_okay=False, path_type=Path),
    callback=output_folder,
)
@overwrite_option
@click.option("--resolution", default=RESOLUTION, show_default=True, type=click.IntRange(8, 1024))
def main(folder: Path | None, resolution: int) -> None:
    """Write the starter library's mask pairs into FOLDER; without one, print its addresses."""
    if folder is None:
        click.echo("\n".join(starter.address for starter in STARTERS))
    else:
        click.echo(write_starters(folder, resolution=resolution))


if __name__ == "__main__":
    main()
