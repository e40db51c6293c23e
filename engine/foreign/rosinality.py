"""Checkpoints of rosinality's stylegan2-pytorch: `g_ema` and, after a conversion, `latent_avg`."""

import re
from collections.abc import Mapping

from torch import Tensor

from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.generators import ForeignGenerator
from editvec.engine.foreign.records import damaged

ORIGIN = "rosinality .pt"

_LAYER_NAMES = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
    "conv.blur.kernel": "resample_filter",
    "upsample.kernel": "resample_filter",
}
_LAYER = re.compile(r"(conv1|to_rgb1|convs\.(\d+)|to_rgbs\.(\d+))\.(.+)")


def read_checkpoint(content: Mapping[object, object], name: str) -> ForeignGenerator:
    """Weights of the averaged generator, or of the trained one if there is no other.

    Raises:
        ForeignFileError: There is no StyleGAN2 generator of this layout.
    """
    state, notes = _find_state(content, name)
    tensors: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise damaged(name, f"expected a tensor, {key} is {type(tensor).__name__}")
        renamed = _rename(key, name)
        tensors[renamed] = _reshape(renamed, tensor)
    average = content.get("latent_avg")
    if isinstance(average, Tensor):
        tensors["mapping.w_avg"] = average
    return ForeignGenerator(ORIGIN, tensors, notes=notes)


def _find_state(
    content: Mapping[object, object], name: str
) -> tuple[dict[str, object], tuple[str, ...]]:
    """The generator's state dict and notes about it."""
    candidates = [
        ("g_ema", ()),
        ("g", ("the file has no averaged generator (g_ema): g was taken",)),
    ]
    for key, notes in candidates:
        state = content.get(key)
        if isinstance(state, Mapping):
            return {str(entry): value for entry, value in state.items()}, notes
    if "input.input" in content:
        return {str(key): value for key, value in content.items() if key != "latent_avg"}, ()
    keys = [str(key) for key in content]
    if "d" in content or any(key.startswith("final_conv") for key in keys):
        raise ForeignFileError(f"{name}: expected a generator, got only a discriminator")
    if any("progression" in key for key in [*keys, *_inner_keys(content)]):
        raise ForeignFileError(f"{name}: expected a StyleGAN2 generator, got StyleGAN1's")
    raise ForeignFileError(
        f"{name}: expected a generator under g_ema, got {', '.join(keys[:5]) or 'nothing'}"
    )


def _inner_keys(content: Mapping[object, object]) -> list[str]:
    states = [state for state in content.values() if isinstance(state, Mapping)]
    return [str(key) for state in states for key in state]


def _rename(key: str, name: str) -> str:
    """Our name of a tensor."""
    if key == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", key):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d+)", key):
        return f"{_convolution(int(match[1]))}.noise_const"
    match = _LAYER.fullmatch(key)
    if match is None or match[4] not in _LAYER_NAMES:
        if "progression" in key:
            raise ForeignFileError(f"{name}: expected a StyleGAN2 generator, got StyleGAN1's")
        raise ForeignFileError(f"{name}: unknown weights: {key}")
    if match[1] == "conv1":
        layer = _convolution(0)
    elif match[1] == "to_rgb1":
        layer = "synthesis.b4.torgb"
    elif match[2] is not None:
        layer = _convolution(int(match[2]) + 1)
    else:
        layer = f"synthesis.b{_size(int(match[3]) + 3, name)}.torgb"
    return f"{layer}.{_LAYER_NAMES[match[4]]}"


def _convolution(index: int) -> str:
    """Name of a convolution by its place: 0 is that of 4 pixels, then two for each size."""
    power = min((index + 1) // 2 + 2, 16)
    return f"synthesis.b{2**power}.conv{(index + 1) % 2}"


def _size(power: int, name: str) -> int:
    if power > 16:
        raise ForeignFileError(f"{name}: expected at most 1024 pixels, got 2^{power}")
    return int(2**power)


def _reshape(key: str, tensor: Tensor) -> Tensor:
    """Without the leading 1 of convolutions, and of maps and biases that are broadcast."""
    if key.endswith("torgb.bias"):
        return tensor.flatten()
    if key.endswith("noise_const") and tensor.ndim == 4:
        return tensor[0, 0]
    leading = {"synthesis.b4.const": 4}.get(key)
    is_convolution = key.endswith(("conv0.weight", "conv1.weight", "torgb.weight"))
    if (tensor.ndim == 5 and is_convolution) or tensor.ndim == leading:
        return tensor[0]
    return tensor
