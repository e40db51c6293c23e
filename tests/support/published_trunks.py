"""Weight files of published trunks, with random weights, where nothing may be downloaded."""

import warnings
from pathlib import Path

import lpips
import torch

FILES = {"alex": "alexnet-owt-7be5be79.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}


def write_trunk(trunk: str, path: Path) -> lpips.LPIPS:
    """The lpips package's own metric on random trunk weights, which are also saved at `path`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    state = {
        f"features.{key.partition('.')[2]}": value for key, value in metric.net.state_dict().items()
    }
    torch.save(state, path)
    return metric


def write_cache(folder: Path) -> None:
    """Puts weights where torch looks for them once `TORCH_HOME` is `folder`."""
    checkpoints = folder / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for trunk, name in FILES.items():
        write_trunk(trunk, checkpoints / name)
