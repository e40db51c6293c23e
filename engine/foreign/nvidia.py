"""NVIDIA's PyTorch pickles: StyleGAN2-ADA, and the StyleGAN2 configurations of StyleGAN3's program.

Their tensors have our names. Settings that shapes do not tell stand in the modules' attributes.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.arrays import ArrayRecord
from editvec.engine.foreign.generators import LR_MULTIPLIER, ForeignGenerator
from editvec.engine.foreign.records import (
    Record,
    StorageRecord,
    TensorRecord,
    damaged,
    submodules,
    tensors_of,
)

MAX_SHARING = 8
"""Tensors that may share their numbers; each gets a copy, which makes a small file large."""

ORIGIN = "NVIDIA PyTorch pickle"


def find_network(content: Mapping[object, object], name: str) -> tuple[Record, tuple[str, ...]]:
    """The generator of a training's snapshot, averaged if there is one, and notes about it.

    Raises:
        ForeignFileError: There is none.
    """
    for key in ("G_ema", "G"):
        network = content.get(key)
        if isinstance(network, Record):
            is_raw = key == "G"
            note = "the file has no averaged generator (G_ema): G was taken"
            return network, (note,) if is_raw else ()
    kinds = [value.kind for value in content.values() if isinstance(value, Record)]
    if kinds:
        raise ForeignFileError(f"{name}: expected a generator, got only {', '.join(kinds)}")
    listed = ", ".join(str(key) for key in list(content)[:5])
    raise ForeignFileError(f"{name}: expected G_ema or G, got {listed or 'nothing'}")


def read_module(network: Record, name: str) -> ForeignGenerator:
    """Weights and settings of a generator.

    Raises:
        ForeignFileError: The module is no StyleGAN2 generator, or one that cannot be imported.
    """
    parts = submodules(network)
    _check_kind(network, parts, name)
    blocks = {key: part for key, part in submodules(parts["synthesis"]).items() if key[:1] == "b"}
    layers = {
        f"{key}.{conv}": submodules(block)[conv]
        for key, block in blocks.items()
        for conv in ("conv0", "conv1")
        if conv in submodules(block)
    }
    mapping_layers = {
        key: layer for key, layer in submodules(parts["mapping"]).items() if key.startswith("fc")
    }
    for key, layer in (layers | mapping_layers).items():
        activation = layer.state.get("activation", "lrelu")
        if activation != "lrelu":
            raise ForeignFileError(f"{name}: {key}: expected activation lrelu, got {activation!r}")
    state: dict[str, Tensor] = {}
    uses: Counter[int] = Counter()
    for key, value in tensors_of(network):
        storage = value.storage if isinstance(value, TensorRecord) else value
        content = storage.content if isinstance(storage, StorageRecord) else storage
        uses[id(content)] += 1
        if uses[id(content)] > MAX_SHARING:
            raise damaged(name, f"{key} is one of many tensors that share their numbers")
        state[key] = _tensor(value, f"{name}: {key}")
    return ForeignGenerator(
        ORIGIN,
        state,
        conv_clamp=_common(layers, "conv_clamp", None, name),
        mapping_lr_multiplier=_common(mapping_layers, "bias_gain", LR_MULTIPLIER, name)
        or LR_MULTIPLIER,
    )


def _check_kind(network: Record, parts: Mapping[str, Record], name: str) -> None:
    if "iscriminator" in network.kind:
        raise ForeignFileError(f"{name}: expected a generator, got {network.kind}")
    if "synthesis" in parts:
        inner = submodules(parts["synthesis"])
        if "input" in inner or any(key.startswith("L0_") for key in inner):
            raise ForeignFileError(
                f"{name}: expected a StyleGAN2 generator, got StyleGAN3's alias-free one, whose "
                "features have no fixed place in the image"
            )
    if network.kind != "Generator" or not {"mapping", "synthesis"} <= parts.keys():
        raise ForeignFileError(f"{name}: expected a StyleGAN2 generator, got {network.kind}")


def _tensor(value: object, name: str) -> Tensor:
    if isinstance(value, TensorRecord):
        return value.tensor(name)
    if isinstance(value, ArrayRecord):
        return torch.from_numpy(np.ascontiguousarray(value.array))
    raise damaged(name, f"expected a tensor, got {type(value).__name__}")


def _common(
    layers: Mapping[str, Record], attribute: str, default: float | None, name: str
) -> float | None:
    """The value of an attribute that all layers share."""
    values = {layer.state.get(attribute, default) for layer in layers.values()}
    if len(values) > 1 or not all(isinstance(value, int | float | None) for value in values):
        raise ForeignFileError(f"{name}: expected one {attribute} of all layers, got {values}")
    value = values.pop() if values else default
    return None if value is None else float(value)
