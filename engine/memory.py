"""How much memory images take, and how much a device has."""

from enum import Enum
from pathlib import Path

import torch

from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.shapes import block_resolutions


class Demand(Enum):
    """What is done with an image: so many times its feature maps, and so many numbers a pixel.

    Measured at config-f from 128 to 512 pixels and with an eighth of its channels, and rounded up:
    a synthesis takes its maps 1.6 times, with a mask 2.6 times. What a gradient keeps of the
    perceptual trunk, and of the segmentation of 40 % of the pixels, follows the pixels: neither
    becomes narrow where the generator does.
    """

    SYNTHESIS = 2.0, 0
    SEGMENTATION = 3.0, 0
    EMBEDDING = 2.5, 700
    EDITING = 3.5, 1300


def image_bytes(config: GeneratorConfig, demand: Demand, *, element_size: int = 4) -> int:
    """About the most memory that one more image of a batch takes.

    Args:
        config: Of the generator.
        demand: What is done with it.
        element_size: Bytes of a number.

    Example:
        >>> image_bytes(GeneratorConfig(256, channel_base=32768), Demand.SEGMENTATION) // 2**20
        351
    """
    maps = sum(2 * size**2 * config.channels(size) for size in block_resolutions(config.resolution))
    times, each_pixel = demand.value
    return int((times * maps + each_pixel * config.resolution**2) * element_size)


def free_bytes(device: torch.device | str) -> int | None:
    """Memory that a device can still give to this process; None where nothing tells.

    On a CPU, what the system calls available, and what its limit leaves to a container.
    """
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    known = [size for size in (_available(), _left_to_container()) if size is not None]
    return min(known) if known else None


def _available(path: Path = Path("/proc/meminfo")) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:  # not Linux
        return None
    words = {line.partition(":")[0]: line.split() for line in lines}
    return int(words["MemAvailable"][1]) * 1024 if "MemAvailable" in words else None


def _left_to_container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Of the limit of a control group, version 2."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(limit - used + int(cached["inactive_file"]), 0)
    except (OSError, ValueError, KeyError):  # no such group, or no limit: "max"
        return None
