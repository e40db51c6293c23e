"""Files to try one's own class on: a foreign checkpoint, annotated images, photographs.

    python -m editvec.avatars.practice FOLDER

They stand for what a user brings. The checkpoint is the shipped generator in the layout of
rosinality's stylegan2-pytorch; the pictures are renders that no network has seen.

    FOLDER/faces.pt          generator only
    FOLDER/faces.yaml        label scheme
    FOLDER/pairs/images/     annotated images
    FOLDER/pairs/masks/      their part masks, PNGs of colours
    FOLDER/photos/           photographs to train on
    FOLDER/unseen/           photographs to edit
"""

import re
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch
import yaml
from PIL import Image
from torch import Tensor

from editvec.avatars.default import BUNDLE_FOLDER
from editvec.avatars.drawing.parameters import sample
from editvec.avatars.drawing.render import LABEL_COLORS, LABELS, render
from editvec.engine.bundle.bundle import read_networks
from editvec.outputs import output_folder, overwrite_option

RESOLUTION = 64
PAIRS, PHOTOGRAPHS, UNSEEN = 16, 48, 6
SEED = 20_000  # far from those that the shipped networks were trained and judged on

_BLUR = torch.tensor([1.0, 3.0, 3.0, 1.0])
_LAYER = re.compile(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.+)")
_LAYER_NAMES = {
    "weight": "conv.weight",
    "affine.weight": "conv.modulation.weight",
    "affine.bias": "conv.modulation.bias",
    "noise_strength": "noise.weight",
    "bias": "activate.bias",
}


def write_practice(
    folder: Path,
    *,
    pairs: int = PAIRS,
    photographs: int = PHOTOGRAPHS,
    unseen: int = UNSEEN,
) -> None:
    """Write all files; the same every time.

    Args:
        folder: Where to; made if it is missing.
        pairs: Annotated images.
        photographs: Photographs to train on.
        unseen: Photographs to edit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_checkpoint(folder / "faces.pt")
    _write_scheme(folder / "faces.yaml")
    drawn = render(sample(pairs + photographs + unseen, seed=SEED), RESOLUTION)
    ends = (0, pairs, pairs + photographs, len(drawn.pixels))
    for place, name in enumerate(("pairs/images", "photos", "unseen")):
        _write_images(folder / name, drawn.pixels[ends[place] : ends[place + 1]])
    _write_images(folder / "pairs/masks", LABEL_COLORS[drawn.mask[:pairs]])


def rosinality_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator's weights under the names and in the shapes of rosinality's program.

    Args:
        state: `Generator.state_dict()`, of the skip architecture; `mapping.w_avg` is left out.

    Raises:
        ValueError: There is a weight that the other program has no place for.
    """
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if match := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", key):
            renamed[f"style.{int(match[1]) + 1}.{match[2]}"] = tensor
        elif key == "synthesis.b4.const":
            renamed["input.input"] = tensor[None]
        elif match := _LAYER.fullmatch(key):
            renamed.update(_layer_state(int(match[1]), match[2], match[3], tensor))
        elif key != "mapping.w_avg":
            raise ValueError(f"{key}: no such weight in the other program")
    return renamed


def _layer_state(size: int, layer: str, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """One weight of a layer; with that of an up-sampling layer its blur."""
    power = size.bit_length() - 3  # of 4 pixels: 0
    blur = _BLUR.outer(_BLUR) / 16
    if layer == "torgb":
        path = "to_rgb1" if power == 0 else f"to_rgbs.{power - 1}"
        if name == "bias":
            return {f"{path}.bias": tensor.reshape(1, 3, 1, 1)}
        found = {f"{path}.{_LAYER_NAMES[name]}": tensor[None] if name == "weight" else tensor}
        return found | ({f"{path}.upsample.kernel": blur} if power and name == "weight" else {})
    index = 2 * power - (layer == "conv0")  # 0 is that of 4 pixels, then two for each size
    path = "conv1" if index == 0 else f"convs.{index - 1}"
    if name == "noise_const":
        return {f"noises.noise_{index}": tensor[None, None]}
    if name == "weight":
        found = {f"{path}.conv.weight": tensor[None]}
        return found | ({f"{path}.conv.blur.kernel": blur} if layer == "conv0" else {})
    return {f"{path}.{_LAYER_NAMES[name]}": tensor.reshape(1) if tensor.ndim == 0 else tensor}


def _write_checkpoint(path: Path) -> None:
    """The shipped generator as a foreign file: a pickle, as those programs write it."""
    _, networks = read_networks(BUNDLE_FOLDER)
    state = networks["generator"].state
    content = {"g_ema": rosinality_state(state), "latent_avg": state["mapping.w_avg"]}
    torch.save(content, path)


def _write_scheme(path: Path) -> None:
    parts = [
        {"name": name, "color": "#{:02x}{:02x}{:02x}".format(*map(int, color))}
        for name, color in zip(LABELS, LABEL_COLORS, strict=True)
    ]
    scheme = {"name": "faces", "parts": parts, "groups": {"look": ["eye", "iris"]}}
    path.write_text(yaml.safe_dump(scheme, sort_keys=False, default_flow_style=None))


def _write_images(folder: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Images uint8 [N, H, W, 3] as 00.png, 01.png..."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{place:02}.png", optimize=True)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), callback=output_folder)
@overwrite_option
@click.option("--pairs", default=PAIRS, show_default=True, type=click.IntRange(4, 99))
@click.option("--photos", default=PHOTOGRAPHS, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--unseen", default=UNSEEN, show_default=True, type=click.IntRange(1, 10_000))
def main(folder: Path, *, pairs: int, photos: int, unseen: int) -> None:
    """Write a checkpoint, annotated images and photographs to practise on into FOLDER."""
    write_practice(folder, pairs=pairs, photographs=photos, unseen=unseen)
    click.echo(f"{folder}: faces.pt, faces.yaml, {pairs} pairs, {photos} photos, {unseen} unseen")


if __name__ == "__main__":
    main()
