"""What is missing for which feature: nothing is broken, but something cannot be done here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from editvec.batch.runs.requirements import networks_of
from editvec.registry.errors import RegistryError
from editvec.registry.library.library import Library
from editvec.registry.tables import schema

if TYPE_CHECKING:
    from editvec.registry.config import RegistryConfig

_OF_CLASS = {
    "segmentation": (
        "no segmentation branch: no masks, no learning, no refining; `editvec train segmentation "
        "--class {name} PAIRS` makes one"
    ),
    "encoder": (
        "no encoder: embedding begins at w_avg and needs steps (--embed steps:200); `editvec train "
        "encoder --class {name} [PHOTOS]` makes one"
    ),
    "perceptual": (
        "no perceptual network: embedding and learning see squared errors alone; `editvec train "
        "encoder` lends it the shipped one"
    ),
}


_WEIGHTS = {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet1_1"}
"""How torchvision's weight files of the published trunks begin."""


class Lack(NamedTuple):
    """What is missing, and what cannot be done without it."""

    part: str
    text: str


def lacking(config: RegistryConfig) -> list[Lack]:
    """What is missing for which feature: on this machine, and of the latest version of each class.

    Args:
        config: The library to look at.
    """
    return [*_of_machine(), *_of_classes(config)]


def _of_machine() -> Iterator[Lack]:
    try:
        import torch
    except (ImportError, RuntimeError):
        return  # told as a problem of the library
    if not torch.cuda.is_available():
        yield Lack(
            "cuda",
            "no CUDA device: everything runs on the CPU; training a generator beyond 64 pixels "
            "takes weeks there",
        )
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    absent = [trunk for trunk, name in _WEIGHTS.items() if not any(folder.glob(f"{name}-*.pth"))]
    if absent:
        yield Lack(
            "lpips weights",
            f"{', '.join(absent)} not in {folder}: published LPIPS is downloaded when it is first "
            "asked for; until then distances are those of a class's own trunk",
        )
    if find_spec("sklearn") is None:
        yield Lack(
            "scikit-learn",
            "not installed: no `editvec discover interfacegan`; pip install 'editvec[discover]'",
        )


def _of_classes(config: RegistryConfig) -> Iterator[Lack]:
    try:
        if not schema.current(config).is_current:
            return
        with Library.open(config) as library:
            latest = {model.name: model for model in library.classes()}
            for model in latest.values():
                found = networks_of(library, model)
                for network, text in _OF_CLASS.items():
                    if network not in found:
                        part = f"class {model.address}"
                        yield Lack(part, text.format(name=model.name))
    except RegistryError:
        return  # told as a problem of the library
