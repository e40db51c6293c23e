"""Networks from their weights; what cannot be built is refused before anything has its size."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from editvec.engine.errors import BundleError, EngineSettingsError, ShapeError
from editvec.engine.networks.classifier import AttributeClassifier
from editvec.engine.networks.config import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    JsonConfig,
    PerceptualConfig,
    SegmentationConfig,
)
from editvec.engine.networks.encoder import Encoder
from editvec.engine.networks.generator import Generator
from editvec.engine.networks.identity import IdentityNetwork
from editvec.engine.networks.perceptual import build_perceptual
from editvec.engine.segmentation.branch import SegmentationBranch

LISTED_KEYS = 5
FEW_LAYERS = 64  # as many may be built to tell which weights are missing
HALVES = (torch.float16, torch.bfloat16)
CONSTANT = "synthesis.b4.const"


def check_fit(
    name: str,
    config: JsonConfig,
    state: Mapping[str, Tensor],
    generator_state: Mapping[str, Tensor],
) -> None:
    """Refuse weights that a network cannot be built from; nothing is allocated.

    Args:
        name: Of the network, as a bundle names it.
        config: Its architecture.
        state: Its weights; names, shapes and dtypes count, so that they may be on `meta`.
        generator_state: Those of the bundle's generator.

    Raises:
        BundleError: Weights are missing, unknown, or of another shape or dtype than the
            architecture says, or no network has its sizes.
    """
    _check_counts(name, config, state)
    shapes = {key: tensor.to("meta") for key, tensor in state.items()}
    try:
        if isinstance(config, SegmentationConfig):
            constant = generator_state.get(CONSTANT)
            _branch(config, shapes, None if constant is None else constant.to("meta"))
            return
        with torch.device("meta"):  # shapes without numbers
            wanted = _new_network(name, config).state_dict()
    except (ShapeError, EngineSettingsError) as exc:
        raise BundleError(f"{name}: {exc}") from exc
    except (RuntimeError, TypeError, OverflowError, ZeroDivisionError) as exc:
        reason = str(exc).partition("\n")[0]
        raise BundleError(f"{name}: expected sizes that a network can have: {reason}") from exc
    _check_keys(name, wanted=wanted, state=shapes)


def build_network(
    name: str,
    config: JsonConfig,
    state: Mapping[str, Tensor],
    generator_state: Mapping[str, Tensor],
) -> nn.Module:
    """The network with its weights, on the CPU; see `check_fit`.

    Raises:
        BundleError: As `check_fit` does.
    """
    check_fit(name, config, state, generator_state)
    if isinstance(config, SegmentationConfig):
        return _branch(config, state, generator_state.get(CONSTANT))
    # building draws initial weights that are overwritten: keep the caller's random state
    with torch.random.fork_rng(devices=[]):
        module = _new_network(name, config)
    module.load_state_dict(dict(state))
    return module


def _branch(
    config: SegmentationConfig, state: Mapping[str, Tensor], constant: Tensor | None
) -> SegmentationBranch:
    """The segmentation branch; files may hold halves, networks compute in float32."""
    full = {key: value.float() if value.dtype in HALVES else value for key, value in state.items()}
    return SegmentationBranch.from_members(
        full, config, constant if config.constant_input else None
    )


def _new_network(name: str, config: JsonConfig) -> nn.Module:
    """A network of this architecture, with initial weights."""
    if isinstance(config, GeneratorConfig):
        return Generator(config)
    if isinstance(config, EncoderConfig):
        return Encoder(config)
    if isinstance(config, PerceptualConfig):
        return build_perceptual(config)
    assert isinstance(config, ClassifierConfig)
    return IdentityNetwork(config) if name == "identity" else AttributeClassifier(config)


def _check_counts(name: str, config: JsonConfig, state: Mapping[str, Tensor]) -> None:
    """Refuse more layers or members than there are weights: each of them has some."""
    values = config.to_json()
    counts: dict[str, int] = {
        key: values[key] for key in ("mapping_layers", "members") if key in values
    }
    if "channels" in values:
        counts["channels"] = len(values["channels"])
    for setting, count in counts.items():
        if count > max(len(state), FEW_LAYERS):
            raise BundleError(
                f"{name}: {setting}: expected no more than the {len(state)} weights that there "
                f"are, got {count}"
            )


def _check_keys(name: str, *, wanted: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    for word, keys in (
        ("missing", set(wanted) - set(state)),
        ("unknown", set(state) - set(wanted)),
    ):
        if keys:
            listed = ", ".join(f"{key:.100}" for key in sorted(keys)[:LISTED_KEYS])
            more = f" and {len(keys) - LISTED_KEYS} more" if len(keys) > LISTED_KEYS else ""
            raise BundleError(f"{name}: {word} weights: {listed}{more}")
    for key, tensor in wanted.items():
        if tensor.is_floating_point() != state[key].is_floating_point():
            raise BundleError(f"{name}: expected {key} as {tensor.dtype}, got {state[key].dtype}")
        if tensor.shape != state[key].shape:
            raise BundleError(
                f"{name}: expected {key} of shape {list(tensor.shape)}, "
                f"got {list(state[key].shape)}"
            )
