"""NVIDIA's TensorFlow pickles of StyleGAN2: (G, D, Gs), each a network with named variables.

Weights of convolutions are [kh, kw, in, out], those of the up-sampling one turned by 180 degrees;
dense weights are [in, out], and a modulation's bias counts from 1.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.arrays import ArrayRecord
from editvec.engine.foreign.generators import LR_MULTIPLIER, ForeignGenerator
from editvec.engine.foreign.records import Record, damaged

ORIGIN = "NVIDIA TensorFlow pickle"
KIND = "dnnlib.tflib.network.Network"

Array = npt.NDArray[Any]

SETTINGS: Mapping[str, tuple[object, ...]] = {
    "nonlinearity": ("lrelu",),
    "mapping_nonlinearity": ("lrelu",),
    "normalize_latents": (True,),
    "use_pixel_norm": (False,),
    "use_instance_norm": (False,),
}
"""Values of settings that shapes do not tell; others are refused."""

_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}
_VARIABLE = re.compile(r"synthesis/(\d+)x(\d+)/(\w+)/(\w+)")


def find_network(content: object, name: str) -> Record:
    """The averaged generator of (G, D, Gs), or a generator that is alone in its file.

    Raises:
        ForeignFileError: There is none.
    """
    items = list(content) if isinstance(content, tuple | list) else [content]
    networks = [item for item in items if isinstance(item, Record) and item.kind == KIND]
    if not networks or len(networks) != len(items):
        raise ForeignFileError(f"{name}: expected the networks (G, D, Gs), got something else")
    functions = [_function(network) for network in networks]
    for function, network in zip(reversed(functions), reversed(networks), strict=True):
        if function.startswith("G_"):
            return network
    raise ForeignFileError(f"{name}: expected a generator, got only {', '.join(functions)}")


def _function(network: Record) -> str:
    """Name of the function that builds a network."""
    return str(network.state.get("build_func_name") or network.state.get("name") or "unknown")


def read_network(network: Record, name: str) -> ForeignGenerator:
    """Weights and settings of a generator.

    Raises:
        ForeignFileError: The network is no StyleGAN2 generator, or one that cannot be imported.
    """
    functions = [function for function, _ in _networks(network, name)]
    if functions[0] == "G_style" or any("stylegan_revised" in text for text in functions):
        raise ForeignFileError(
            f"{name}: expected a StyleGAN2 generator, got StyleGAN1's {functions[-1]}"
        )
    settings = _settings(network, name)
    for key, allowed in SETTINGS.items():
        if settings.get(key, allowed[0]) not in allowed:
            raise ForeignFileError(f"{name}: expected {key} {allowed[0]}, got {settings[key]!r}")
    kernel = settings.get("resample_kernel", [1, 3, 3, 1])
    if kernel is not None and list(kernel) != [1, 3, 3, 1]:
        raise ForeignFileError(f"{name}: expected the filter [1, 3, 3, 1], got {kernel}")
    state: dict[str, Tensor] = {}
    for path, array in _variables(network, name):
        if path.rpartition("/")[2] != "lod":
            key, converted = _convert(path, array, name)
            state[key] = torch.from_numpy(np.ascontiguousarray(converted))
    clamp = settings.get("conv_clamp")
    return ForeignGenerator(
        ORIGIN,
        state,
        conv_clamp=None if clamp is None else float(clamp),
        mapping_lr_multiplier=float(settings.get("mapping_lrmul", LR_MULTIPLIER)),
    )


def _networks(network: Record, name: str) -> Iterator[tuple[str, Record]]:
    """A network and its components, with the functions that build them."""
    visited: set[int] = set()
    rest = [network]
    while rest:
        part = rest.pop()
        if id(part) in visited:
            raise damaged(name, "a network is a part of two others")
        visited.add(id(part))
        yield _function(part), part
        rest += reversed(_components(part).values())


def _components(network: Record) -> dict[str, Record]:
    components = network.state.get("components")
    if not isinstance(components, Mapping):
        return {}
    return {key: value for key, value in components.items() if isinstance(value, Record)}


def _settings(network: Record, name: str) -> dict[str, Any]:
    """Settings of a network and its components."""
    found: dict[str, Any] = {}
    for _, part in _networks(network, name):
        settings = part.state.get("static_kwargs")
        if isinstance(settings, Mapping):
            found.update(settings)
    return found


def _variables(network: Record, name: str, path: str = "") -> Iterator[tuple[str, Array]]:
    """Variables of a network and its components, by path."""
    for entry in network.state.get("variables") or ():
        key, record = entry
        if isinstance(record, ArrayRecord):
            yield f"{path}{key}", record.array
        elif isinstance(record, int | float):
            yield f"{path}{key}", np.array(record, dtype=np.float32)
        else:
            raise damaged(name, f"expected an array, {key} is {type(record).__name__}")
    for part, component in _components(network).items():
        yield from _variables(component, name, f"{path}{part}/")


def _convert(path: str, array: Array, name: str) -> tuple[str, Array]:
    """Our name and layout of a variable."""
    if path == "dlatent_avg":
        return "mapping.w_avg", array
    if path == "mapping/LabelConcat/weight":
        return "mapping.label_rows", array
    if match := re.fullmatch(r"mapping/(Dense\d+|LabelEmbed)/(weight|bias)", path):
        layer = match[1].replace("Dense", "fc").replace("LabelEmbed", "embed")
        return f"mapping.{layer}.{match[2]}", array.T if match[2] == "weight" else array
    if path == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", _squeezed(array, 3)
    if match := re.fullmatch(r"synthesis/noise(\d+)", path):
        return f"{_convolution(int(match[1]))}.noise_const", _squeezed(array, 2)
    match = _VARIABLE.fullmatch(path)
    if match is None or match[1] != match[2] or match[3] not in _LAYERS:
        raise ForeignFileError(f"{name}: unknown variable: {path}")
    layer = f"synthesis.b{match[1]}.{_LAYERS[match[3]]}"
    if match[4] == "weight":
        if array.ndim != 4:
            raise damaged(name, f"{path}: expected four dimensions, got {list(array.shape)}")
        turned = array[::-1, ::-1] if match[3] == "Conv0_up" else array
        return f"{layer}.weight", turned.transpose(3, 2, 0, 1)
    if match[4] == "mod_weight":
        return f"{layer}.affine.weight", array.T
    if match[4] == "mod_bias":
        return f"{layer}.affine.bias", array + 1
    if match[4] in ("bias", "noise_strength"):
        return f"{layer}.{match[4]}", array
    raise ForeignFileError(f"{name}: unknown variable: {path}")


def _squeezed(array: Array, dimensions: int) -> Array:
    """Without leading dimensions of size 1."""
    while array.ndim > dimensions and array.shape[0] == 1:
        array = array[0]
    return array


def _convolution(index: int) -> str:
    """Name of a convolution by the number of its noise: 0 is that of 4 pixels."""
    return f"synthesis.b{2 ** min((index + 1) // 2 + 2, 16)}.conv{(index + 1) % 2}"
