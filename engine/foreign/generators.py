"""Weights of a StyleGAN2 generator of any origin -> our settings and state.

Readers of file formats bring tensors under the names of the common PyTorch layout, which is ours
too. Here the settings are found from the shapes, and what the file leaves open is filled in:

    label      a conditional generator becomes one of a single label
    noise      maps that a file does not hold are drawn from a fixed seed, or are zero where the
               generator has no noise
    w_avg      estimated where there is none, and for the single label
    colours    a generator of grey images becomes one of equal colours
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ForeignFileError
from editvec.engine.foreign.records import finite_weights
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Generator
from editvec.engine.networks.generator import Mapping as MappingNetwork
from editvec.engine.networks.layers import filter_kernel
from editvec.engine.shapes import block_resolutions

LISTED_KEYS = 3
LR_MULTIPLIER = 0.01
NOISE_SEED = 0
W_AVG_SEED = 0
W_AVG_SAMPLES = 10_000
W_AVG_GRID = 2.0**-16  # estimates are rounded to it, so that every machine finds the same

_BLOCK = re.compile(r"synthesis\.b(\d+)\.")
_FILTER = re.compile(r"synthesis\.(?:b\d+\.)?(?:\w+\.)?resample_filter")


class ForeignGenerator(NamedTuple):
    """What a reader found in a file.

    Attributes:
        origin: The format, for people.
        state: Tensors by our names; further `mapping.embed.weight` [E, labels] and
            `mapping.embed.bias` [E], or `mapping.label_rows` [labels, E], of a conditional one.
        conv_clamp: Clamp of the activations, None for none.
        mapping_lr_multiplier: Equalised learning rate of the mapping network.
        notes: What a user should know, in sentences.
    """

    origin: str
    state: Mapping[str, Tensor]
    conv_clamp: float | None = None
    mapping_lr_multiplier: float = LR_MULTIPLIER
    notes: tuple[str, ...] = ()


class ImportedGenerator(NamedTuple):
    """A generator of ours.

    Attributes:
        origin: The format that it came from.
        config: Architecture.
        state: What `Generator(config)` loads, float32.
        notes: What a user should know, in sentences.
    """

    origin: str
    config: GeneratorConfig
    state: dict[str, Tensor]
    notes: tuple[str, ...]


def complete_generator(
    foreign: ForeignGenerator, *, label_classes: Sequence[int] = (), name: str
) -> ImportedGenerator:
    """Find the settings, fill in what is missing and check every shape.

    Args:
        foreign: What a reader found.
        label_classes: Labels that a conditional generator is imported for: one, or several of a
            generator that takes several at once.
        name: Of the file, for messages.

    Raises:
        ForeignFileError: Tensors are missing, unknown, of wrong shape or type, or not finite.
        SettingsError: The labels do not fit the generator.
    """
    state = {key: finite_weights(value, f"{name}: {key}") for key, value in foreign.state.items()}
    notes = list(foreign.notes)
    _check_filters(state, name)
    _rescale_mapping(state, foreign.mapping_lr_multiplier)
    is_conditional = _fold_label(state, label_classes, name)
    if _repeat_grey(state, name):
        notes.append("the generator makes grey images: its three colours are equal")
    config = _find_config(state, conv_clamp=foreign.conv_clamp, name=name)
    if _fill_noise(state, config, name):
        notes.append(f"the file has no noise maps: they were drawn from seed {NOISE_SEED}")
    if "mapping.w_avg" in state and not is_conditional:
        state["mapping.w_avg"] = state["mapping.w_avg"].flatten()
        _check_state(state, config, name)
    else:
        state["mapping.w_avg"] = torch.zeros(config.w_dim)
        _check_state(state, config, name)
        state["mapping.w_avg"] = _estimate_w_avg(state, config)
        what = "of the label" if is_conditional else "which the file does not have"
        notes.append(f"w_avg, {what}, was estimated from {W_AVG_SAMPLES} samples")
    return ImportedGenerator(foreign.origin, config, state, tuple(notes))


def _check_filters(state: dict[str, Tensor], name: str) -> None:
    """Take the stored filters out, which are built anew, after a look at them."""
    expected = filter_kernel()
    for key in [key for key in state if _FILTER.fullmatch(key)]:
        taps = state.pop(key)
        if taps.shape != expected.shape or not torch.allclose(taps / taps.sum(), expected):
            raise ForeignFileError(
                f"{name}: {key}: expected the filter [1, 3, 3, 1]; no other is supported"
            )


def _rescale_mapping(state: dict[str, Tensor], lr_multiplier: float) -> None:
    """Weights that give the same under our learning rate multiplier."""
    if lr_multiplier == LR_MULTIPLIER:
        return
    for key in list(state):
        if key.startswith("mapping.fc"):
            state[key] = state[key] * (lr_multiplier / LR_MULTIPLIER)


# ----------------------------------------------------------------------------------------------
# The label


def _fold_label(state: dict[str, Tensor], label_classes: Sequence[int], name: str) -> bool:
    """Make a conditional generator one of its labels; True if it was conditional.

    An embedded label y = normalise(W c + b) joins the normalised z, so that layer 0 sees a
    constant: its part goes into the bias. A label that joins z before the normalisation
    (the first release of StyleGAN2) changes z's scale, and stays as `mapping.label`.
    """
    rows = state.pop("mapping.label_rows", None)
    if rows is not None:
        state["mapping.label"] = _label_vector(rows.t(), label_classes, name)
        return True
    weight = state.pop("mapping.embed.weight", None)
    bias = state.pop("mapping.embed.bias", None)
    if weight is None or bias is None:
        if label_classes:
            raise EngineSettingsError(
                f"label_class: expected none, because {name} was trained without labels, "
                f"got {label_classes[0]}"
            )
        return False
    embedded = _label_vector(weight.double(), label_classes, name) / math.sqrt(weight.shape[1])
    embedded = embedded + bias.double()
    embedded = embedded * (embedded.square().mean() + 1e-8).rsqrt()
    _fold_constant_input(state, embedded, name)
    return True


def _label_vector(columns: Tensor, label_classes: Sequence[int], name: str) -> Tensor:
    """Sum of the columns [E, labels] of the given labels: [E]."""
    labels = columns.shape[1] if columns.ndim == 2 else 0
    for label in label_classes:
        if not 0 <= label < labels:
            raise EngineSettingsError(f"label_class: expected 0 to {labels - 1}, got {label}")
    if not label_classes:
        raise EngineSettingsError(
            f"label_class: expected a label from 0 to {labels - 1}, because {name} was trained "
            "with labels, got none"
        )
    return columns[:, list(dict.fromkeys(label_classes))].sum(dim=1)


def _fold_constant_input(state: dict[str, Tensor], constant: Tensor, name: str) -> None:
    """Layer 0 on [z, constant] -> a layer 0 on z, with the gain of its smaller size."""
    weight, bias = state.get("mapping.fc0.weight"), state.get("mapping.fc0.bias")
    if weight is None or bias is None or weight.ndim != 2 or weight.shape[1] <= len(constant):
        raise ForeignFileError(f"{name}: mapping.fc0 does not fit labels of {len(constant)} values")
    inputs = weight.shape[1]
    z_dim = inputs - len(constant)
    part = weight[:, z_dim:].double() @ constant / math.sqrt(inputs)
    state["mapping.fc0.bias"] = (bias.double() + part).float()
    scaled = weight[:, :z_dim].double() * math.sqrt(z_dim / inputs)
    state["mapping.fc0.weight"] = scaled.float().contiguous()


# ----------------------------------------------------------------------------------------------
# Settings


def _repeat_grey(state: dict[str, Tensor], name: str) -> bool:
    """Turn ToRGB layers of one channel into those of three equal ones."""
    weights = [key for key in state if re.fullmatch(r"synthesis\.b\d+\.torgb\.weight", key)]
    channels = {state[key].shape[0] for key in weights if state[key].ndim == 4}
    if channels == {1}:
        for key in weights:
            bias = key.removesuffix("weight") + "bias"
            state[key] = state[key].repeat(3, 1, 1, 1)
            if bias in state:
                state[bias] = state[bias].repeat(3)
        return True
    if channels != {3}:
        told = ", ".join(map(str, sorted(channels))) or "no"
        raise ForeignFileError(f"{name}: expected images of 1 or 3 channels, got {told}")
    return False


def _find_config(
    state: Mapping[str, Tensor], *, conv_clamp: float | None, name: str
) -> GeneratorConfig:
    """The settings that the tensors' shapes tell."""
    sizes = sorted({int(match[1]) for key in state if (match := _BLOCK.match(key))})
    resolution = sizes[-1] if sizes else 0
    if len(sizes) < 3 or sizes != [2**power for power in range(2, len(sizes) + 2)]:
        raise ForeignFileError(f"{name}: expected blocks of 4, 8, 16... pixels, got {sizes}")
    layers = [key for key in state if re.fullmatch(r"mapping\.fc\d+\.weight", key)]
    z_dim = _shape(state, "mapping.fc0.weight", 2, name)[1]
    label = state.get("mapping.label")
    label_size = 0 if label is None else len(label)
    channels = tuple(_shape(state, f"synthesis.b{res}.conv1.weight", 4, name)[0] for res in sizes)
    architecture = "skip" if "synthesis.b4.torgb.weight" in state else "orig"
    if "synthesis.b8.skip.weight" in state:
        architecture = "resnet"
    channel_base, channel_max = _channel_rule(channels, sizes)
    config = GeneratorConfig(
        resolution=_checked_resolution(resolution, name),
        z_dim=z_dim - label_size,
        w_dim=_shape(state, "synthesis.b4.conv1.affine.weight", 2, name)[1],
        channel_base=channel_base,
        channel_max=channel_max,
        mapping_layers=len(layers),
        conv_clamp=conv_clamp,
        architecture=architecture,
        label_size=label_size,
    )
    if tuple(config.channels(res) for res in sizes) == channels:
        return config
    return GeneratorConfig(**{**vars(config), "block_channels": channels})


def _checked_resolution(resolution: int, name: str) -> int:
    from editvec.engine.shapes import check_resolution

    try:
        return check_resolution(resolution)
    except EngineSettingsError as exc:
        raise ForeignFileError(f"{name}: {exc}") from exc


def _channel_rule(channels: Sequence[int], sizes: Sequence[int]) -> tuple[int, int]:
    """`channel_base` and `channel_max` of the usual rule, if one gives these channels."""
    largest = max(channels)
    products = [
        count * size for count, size in zip(channels, sizes, strict=True) if count < largest
    ]
    return (products[-1] if products else largest * sizes[-1]), largest


def _shape(state: Mapping[str, Tensor], key: str, dimensions: int, name: str) -> Sequence[int]:
    tensor = state.get(key)
    if tensor is None:
        raise ForeignFileError(f"{name}: missing weights: {key}")
    if tensor.ndim != dimensions or min(tensor.shape) < 1:
        raise ForeignFileError(
            f"{name}: expected {key} of {dimensions} dimensions, got {list(tensor.shape)}"
        )
    return list(tensor.shape)


# ----------------------------------------------------------------------------------------------
# What files leave open


def _fill_noise(state: dict[str, Tensor], config: GeneratorConfig, name: str) -> bool:
    """Bring noise maps and strengths into shape; True if maps had to be drawn.

    A file may have both, neither (the generator was trained without noise), or strengths only
    (its program draws new maps each time). Some of the maps only means a damaged file.
    """
    layers = [
        (f"synthesis.b{res}.{conv}", res)
        for res in block_resolutions(config.resolution)
        for conv in ("conv0", "conv1")
        if (res, conv) != (4, "conv0")
    ]
    strengths = [f"{layer}.noise_strength" for layer, _ in layers]
    maps = [f"{layer}.noise_const" for layer, _ in layers]
    for keys in (strengths, maps):
        absent = [key for key in keys if key not in state]
        if absent and len(absent) < len(keys):
            raise ForeignFileError(f"{name}: missing noise: {_listed(absent)}")
    random = np.random.default_rng(NOISE_SEED)
    has_strengths, has_maps = strengths[0] in state, maps[0] in state
    for (_, res), strength, noise in zip(layers, strengths, maps, strict=True):
        if not has_strengths:
            state[strength] = torch.zeros([])
        if not has_maps and has_strengths:
            drawn = random.standard_normal((res, res), dtype=np.float32)
            state[noise] = torch.from_numpy(drawn)
        elif not has_maps:
            state[noise] = torch.zeros(res, res)
        state[strength] = _scalar(state[strength], f"{name}: {strength}")
    return has_strengths and not has_maps


def _scalar(tensor: Tensor, name: str) -> Tensor:
    if tensor.numel() != 1:
        raise ForeignFileError(f"{name}: expected one number, got {list(tensor.shape)}")
    return tensor.reshape([])


def _estimate_w_avg(state: Mapping[str, Tensor], config: GeneratorConfig) -> Tensor:
    """Mean of W over fixed samples, computed in float64 and rounded to a grid: [w_dim]."""
    with torch.random.fork_rng(devices=[]):
        mapping = MappingNetwork(config)
    own_state = {
        key.removeprefix("mapping."): value
        for key, value in state.items()
        if key.startswith("mapping.")
    }
    mapping.load_state_dict(own_state)
    mapping.double()
    random = np.random.default_rng(W_AVG_SEED)
    total = torch.zeros(config.w_dim, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(W_AVG_SAMPLES // 1000):
            z = torch.from_numpy(random.standard_normal((1000, config.z_dim)))
            total += mapping(z)[:, 0].sum(dim=0)
    mean = total / (W_AVG_SAMPLES // 1000 * 1000)
    return ((mean / W_AVG_GRID).round() * W_AVG_GRID).float()


# ----------------------------------------------------------------------------------------------
# The last look


def _check_state(state: Mapping[str, Tensor], config: GeneratorConfig, name: str) -> None:
    """Compare names and shapes with those of the generator that the settings describe."""
    with torch.device("meta"):
        wanted = Generator(config).state_dict()
    for word, keys in (
        ("missing", wanted.keys() - state.keys()),
        ("unknown", state.keys() - wanted.keys()),
    ):
        if keys:
            raise ForeignFileError(f"{name}: {word} weights: {_listed(sorted(keys))}")
    for key, tensor in wanted.items():
        if tensor.shape != state[key].shape:
            raise ForeignFileError(
                f"{name}: expected {key} of shape {list(tensor.shape)}, "
                f"got {list(state[key].shape)}"
            )


def _listed(keys: Iterable[str]) -> str:
    keys = list(keys)
    more = f" and {len(keys) - LISTED_KEYS} more" if len(keys) > LISTED_KEYS else ""
    return ", ".join(keys[:LISTED_KEYS]) + more
