"""Writes checkpoints in the containers of other programs, with their classes faked for pickle.

The programs' own classes are needed to write, and only to write: pickle stores their names. Every
embedded source would leave a file behind if anything ran it.
"""

import argparse
import contextlib
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[np.float32]


def trap_source(marker: Path) -> str:
    """Source code that leaves a file behind when it is run."""
    return f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"


class Trap:
    """Runs code when it is unpickled in earnest."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (trap_source(self.marker),))


# ----------------------------------------------------------------------------------------------
# NVIDIA's classes


class EasyDict(dict[str, Any]):
    """A dict of NVIDIA's programs."""


class Network:
    """A network of NVIDIA's TensorFlow programs."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


def reconstruct(meta: Mapping[str, Any]) -> object:
    """What the programs do with embedded source: they run it."""
    exec(meta["module_src"])
    return meta


@contextlib.contextmanager
def faked_modules() -> Iterator[None]:
    """The names under which pickle finds the classes."""
    names = {
        "dnnlib.util": {"EasyDict": EasyDict},
        "dnnlib.tflib.network": {"Network": Network},
        "torch_utils.persistence": {"_reconstruct_persistent_obj": reconstruct},
    }
    modules = {}
    for path, members in names.items():
        for end in range(1, path.count(".") + 2):
            part = ".".join(path.split(".")[:end])
            modules.setdefault(part, types.ModuleType(part))
        for name, member in members.items():
            setattr(modules[path], name, member)
            member.__module__, member.__qualname__, member.__name__ = path, name, name
    sys.modules.update(modules)
    try:
        yield
    finally:
        for path in modules:
            del sys.modules[path]


class Persistent(nn.Module):
    """A module whose pickle embeds its source."""

    def __init__(self, kind: str, source: str, **attributes: Any) -> None:
        super().__init__()
        self.kind = kind
        self.source = source
        for name, value in attributes.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        kind, source = state.pop("kind"), state.pop("source")
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": kind}
        return (reconstruct, (meta | {"state": state},), None)


CONVOLUTION = {"activation": "lrelu", "use_noise": True, "act_gain": np.sqrt(2)}
DENSE = {"activation": "lrelu", "bias_gain": 0.01}


def persistent_generator(
    state: Mapping[str, Tensor], source: str, *, conv_clamp: float | None = None, **kwargs: Any
) -> Persistent:
    """A module tree of a state dict, of NVIDIA's kinds, with its settings as attributes."""
    network = Persistent("Generator", source, init_kwargs=EasyDict(kwargs), num_ws=8)
    for key, tensor in state.items():
        *path, name = key.split(".")
        module: nn.Module = network
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, _module(part, source, conv_clamp))
            module = dict(module.named_children())[part]
        is_buffer = name in ("w_avg", "noise_const", "resample_filter")
        if is_buffer:
            module.register_buffer(name, tensor)
        else:
            module.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
    return network


def _module(name: str, source: str, conv_clamp: float | None) -> Persistent:
    if name.startswith("conv"):
        return Persistent("SynthesisLayer", source, **CONVOLUTION, conv_clamp=conv_clamp)
    if name.startswith("fc"):
        return Persistent("FullyConnectedLayer", source, **DENSE)
    kinds = {"mapping": "MappingNetwork", "synthesis": "SynthesisNetwork", "torgb": "ToRGBLayer"}
    return Persistent(kinds.get(name, "SynthesisBlock"), source)


def write_pickle(path: Path, content: object, *, protocol: int = 4) -> Path:
    """Pickle something that may hold the faked classes."""
    with faked_modules():
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def snapshot(generator: object, source: str, **others: object) -> dict[str, object]:
    """What a training writes: G, D, G_ema and the rest."""
    discriminator = Persistent("Discriminator", source, c_dim=0)
    discriminator.register_parameter("weight", nn.Parameter(torch.zeros(2)))
    content: dict[str, object] = {
        "G": Persistent("Generator", source),
        "D": discriminator,
        "G_ema": generator,
        "augment_pipe": Persistent("AugmentPipe", source, p=np.float64(0.3)),
        "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset"),
    }
    return content | others


# ----------------------------------------------------------------------------------------------
# TensorFlow


def tensorflow_networks(
    variables: Mapping[str, Array], source: str, **settings: Any
) -> tuple[Network, Network, Network]:
    """(G, D, Gs) with the variables in Gs and its components."""
    components = {}
    for part, function in (("synthesis", "G_synthesis_stylegan2"), ("mapping", "G_mapping")):
        inner = [
            (key.removeprefix(f"{part}/"), np.asarray(array, dtype=np.float32))
            for key, array in variables.items()
            if key.startswith(f"{part}/")
        ]
        components[part] = network(f"G_{part}", function, source, inner, {}, {})
    outer = [("lod", np.float32(0).reshape(()))] + [
        (key, np.asarray(array)) for key, array in variables.items() if "/" not in key
    ]
    averaged = network("Gs", "G_main", source, outer, settings, components)
    zero = [("weight", np.zeros(2, np.float32))]
    raw = network("G", "G_main", source, zero, {}, {})
    return raw, network("D", "D_stylegan2", source, zero, {}, {}), averaged


def network(
    name: str,
    function: str,
    source: str,
    variables: list[tuple[str, Array]],
    settings: Mapping[str, Any],
    components: Mapping[str, Network],
) -> Network:
    """One network with its variables."""
    return Network(
        version=4,
        name=name,
        static_kwargs=EasyDict(settings),
        components=EasyDict(components),
        build_module_src=source,
        build_func_name=function,
        variables=variables,
    )


def random_variables(
    resolution: int,
    architecture: str = "skip",
    *,
    z_dim: int = 6,
    w_dim: int = 8,
    channels: Callable[[int], int] = lambda size: min(128 // size, 12),
    mapping_layers: int = 2,
    labels: int = 0,
    label_layer: str = "LabelEmbed",
    seed: int = 0,
) -> dict[str, Array]:
    """Random variables of a StyleGAN2 generator in the TensorFlow program's layout."""
    random = np.random.default_rng(seed)

    def draw(*shape: int, scale: float = 1.0) -> Array:
        return random.normal(size=shape, scale=scale).astype(np.float32)

    variables = {
        "dlatent_avg": draw(w_dim),
        "synthesis/4x4/Const/const": draw(1, channels(4), 4, 4),
    }
    inputs = z_dim
    if labels:
        width = z_dim if label_layer == "LabelConcat" else 5
        variables[f"mapping/{label_layer}/weight"] = draw(labels, width)
        if label_layer == "LabelEmbed":
            variables["mapping/LabelEmbed/bias"] = draw(width)
        inputs += width
    for index in range(mapping_layers):
        variables[f"mapping/Dense{index}/weight"] = draw(inputs, w_dim, scale=100)
        variables[f"mapping/Dense{index}/bias"] = draw(w_dim, scale=10)
        inputs = w_dim

    def convolution(path: str, kernel: int, before: int, after: int, noise: int | None) -> None:
        variables[f"{path}/weight"] = draw(kernel, kernel, before, after)
        variables[f"{path}/bias"] = draw(after, scale=0.1)
        variables[f"{path}/mod_weight"] = draw(w_dim, before)
        variables[f"{path}/mod_bias"] = draw(before, scale=0.1)
        if noise is not None:
            size = int(path.split("/")[1].split("x")[0])
            variables[f"{path}/noise_strength"] = np.float32(random.normal()).reshape(())
            variables[f"synthesis/noise{noise}"] = draw(1, 1, size, size)

    convolution("synthesis/4x4/Conv", 3, channels(4), channels(4), 0)
    if architecture == "skip":
        convolution("synthesis/4x4/ToRGB", 1, channels(4), 3, None)
    size, noise = 8, 1
    while size <= resolution:
        before, after, path = channels(size // 2), channels(size), f"synthesis/{size}x{size}"
        convolution(f"{path}/Conv0_up", 3, before, after, noise)
        convolution(f"{path}/Conv1", 3, after, after, noise + 1)
        if architecture == "resnet":
            variables[f"{path}/Skip/weight"] = draw(1, 1, before, after)
        if architecture == "skip" or size == resolution:
            convolution(f"{path}/ToRGB", 1, after, 3, None)
        size, noise = size * 2, noise + 2
    return variables


# ----------------------------------------------------------------------------------------------
# torch.save


def write_rosinality(
    path: Path, state: Mapping[str, Tensor], *, legacy: bool = False, **others: object
) -> Path:
    """A checkpoint with the generator under g_ema."""
    content = {"g_ema": OrderedDict(state), **others}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def training_arguments() -> argparse.Namespace:
    """The command line that a training saves."""
    return argparse.Namespace(path="lmdb", iter=800_000, size=32, mixing=0.9)
