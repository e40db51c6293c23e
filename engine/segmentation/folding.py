"""Trained member classifiers -> the folded layers of the segmentation branch.

BatchNorm at inference is the affine map a x + c with a = weight / sqrt(running_var + eps) and
c = bias - a running_mean. It stands between a ReLU and a linear layer W y + b, so both together
are (W a) x + (W c + b).
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from editvec.engine.errors import BundleError, EngineSettingsError, ShapeError
from editvec.engine.networks.config import SegmentationConfig

BATCH_NORM_EPS = 1e-5

_NAME = re.compile(r"(\d+)\.(?:module\.)?layers\.(\d)\.(\w+)")
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


class FoldedLayers(NamedTuple):
    """Linear layers of all members; E members, D channels, K labels.

    Attributes:
        weight1: [E*H1, D].
        base: What layer 1 adds: its bias [E*H1, 1, 1], or with the constant's part a map
            [E*H1, h, w].
        weight2: [E, H2, H1].
        bias2: [E, H2, 1].
        weight3: [E, K, H2].
        bias3: [E, K, 1].
    """

    weight1: Tensor
    base: Tensor
    weight2: Tensor
    bias2: Tensor
    weight3: Tensor
    bias3: Tensor


def fold_members(state: Mapping[str, Tensor], config: SegmentationConfig) -> FoldedLayers:
    """Stack the members and fold their BatchNorms, in float64.

    Args:
        state: `<member>.layers.{0,2,3,5,6}.*` or `<member>.module.layers.*`, members from 0.
        config: The sizes to expect.

    Returns:
        The layers in the state's dtype.

    Raises:
        BundleError: A weight is missing or its name is unknown.
        ShapeError: A weight has the wrong shape or dtype.
    """
    weights = _read_members(state, config)
    dtype = weights["0.weight"].dtype
    stacked = {name: tensor.double() for name, tensor in weights.items()}
    weight2, bias2 = _fold_batch_norm(stacked, "2", "3")
    weight3, bias3 = _fold_batch_norm(stacked, "5", "6")
    layers = FoldedLayers(
        weight1=stacked["0.weight"].flatten(0, 1),
        base=stacked["0.bias"].flatten()[:, None, None],
        weight2=weight2,
        bias2=bias2[:, :, None],
        weight3=weight3,
        bias3=bias3[:, :, None],
    )
    return FoldedLayers(*(tensor.to(dtype) for tensor in layers))


def fold_constant(
    layers: FoldedLayers, constant: Tensor, config: SegmentationConfig
) -> FoldedLayers:
    """Fold the generator's constant input [C, h, w] into the base of layer 1.

    Raises:
        SettingsError: The settings say that there is no constant, or nothing but the constant.
        ShapeError: The constant has the wrong shape.
    """
    if not config.constant_input or len(config.feature_channels) < 2:
        raise EngineSettingsError("constant: expected settings with a constant and further maps")
    channels = config.feature_channels[0]
    if constant.ndim != 3 or constant.shape[0] != channels or constant[0].numel() < 2:
        raise ShapeError(f"constant: expected [{channels}, h, w], got {list(constant.shape)}")
    weight = layers.weight1[:, :channels]
    part = torch.einsum("oc,chw->ohw", weight.double(), constant.detach().to(weight).double())
    return layers._replace(base=(layers.base.double() + part).to(weight.dtype))


def _fold_batch_norm(
    stacked: Mapping[str, Tensor], norm: str, linear: str
) -> tuple[Tensor, Tensor]:
    """Weight [E, out, in] and bias [E, out] of BatchNorm followed by a linear layer."""
    scale = stacked[f"{norm}.weight"] * (stacked[f"{norm}.running_var"] + BATCH_NORM_EPS).rsqrt()
    shift = stacked[f"{norm}.bias"] - scale * stacked[f"{norm}.running_mean"]
    weight = stacked[f"{linear}.weight"]
    bias = stacked[f"{linear}.bias"] + torch.einsum("eoi,ei->eo", weight, shift)
    return weight * scale[:, None, :], bias


def _read_members(state: Mapping[str, Tensor], config: SegmentationConfig) -> dict[str, Tensor]:
    """Weights by `<layer>.<name>`, stacked over the members: [E, ...]."""
    members: list[dict[str, Tensor]] = [{} for _ in range(config.members)]
    for key, tensor in state.items():
        match = _NAME.fullmatch(key)
        if match is None or int(match[1]) >= config.members:
            raise BundleError(
                f"segmentation weights: expected <member>.layers.<layer>.<name> of "
                f"{config.members} members, got {key!r}"
            )
        member, name = members[int(match[1])], f"{match[2]}.{match[3]}"
        if match[3] == "num_batches_tracked":
            continue
        if name in member:
            raise BundleError(
                f"segmentation weights: expected each weight once, got {int(match[1])}.layers."
                f"{name} twice"
            )
        member[name] = tensor
    shapes = _expected_shapes(config)
    dtype = members[0].get("0.weight", torch.empty(0)).dtype
    for index, member in enumerate(members):
        _check_member(member, shapes, index=index, dtype=dtype)
    return {name: torch.stack([member[name].detach() for member in members]) for name in shapes}


def _check_member(
    member: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    index: int,
    dtype: torch.dtype,
) -> None:
    """Compare one member's names, shapes and dtypes with what is expected."""
    unknown = sorted(set(member) - set(shapes))
    if unknown:
        raise BundleError(f"segmentation weights: unknown weight {index}.layers.{unknown[0]}")
    for name, shape in shapes.items():
        key = f"{index}.layers.{name}"
        if name not in member:
            raise BundleError(f"segmentation weights: {key} is missing")
        tensor = member[name]
        if tuple(tensor.shape) != shape:
            raise ShapeError(
                f"segmentation weights: expected {key} of shape {list(shape)}, "
                f"got {list(tensor.shape)}"
            )
        if tensor.dtype != dtype or not tensor.is_floating_point():
            raise ShapeError(
                f"segmentation weights: expected one floating dtype, got {key} as {tensor.dtype}"
            )


def _expected_shapes(config: SegmentationConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each weight of a member, by `<layer>.<name>`."""
    first, second = config.hidden
    sizes = {"0": (first, sum(config.feature_channels)), "3": (second, first)}
    sizes["6"] = (config.num_labels, second)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (out, into) in sizes.items():
        shapes |= {f"{layer}.weight": (out, into), f"{layer}.bias": (out,)}
    for layer, width in (("2", first), ("5", second)):
        shapes |= {f"{layer}.{name}": (width,) for name in _BATCH_NORM}
    return shapes
