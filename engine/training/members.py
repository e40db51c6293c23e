"""The members of a segmentation branch in training: all side by side, each on its own pixels."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from editvec.engine.networks.config import SegmentationConfig
from editvec.engine.segmentation.folding import BATCH_NORM_EPS

INIT_STD = 0.02
BATCH_NORM_MOMENTUM = 0.1


class Members(nn.Module):
    """E classifiers D -> H1 -> ReLU -> BN -> H2 -> ReLU -> BN -> K in one batched product each."""

    def __init__(self, config: SegmentationConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        first, second = config.hidden
        sizes = {"0": (first, sum(config.feature_channels)), "3": (second, first)}
        sizes["6"] = (config.num_labels, second)
        self.weights = nn.ParameterDict()
        for layer, (out, into) in sizes.items():
            drawn = torch.randn(
                config.members, out, into, generator=generator, device=generator.device
            )
            self.weights[f"{layer}_weight"] = nn.Parameter(drawn * INIT_STD)
            self.weights[f"{layer}_bias"] = nn.Parameter(torch.zeros(config.members, out))
        for layer, width in (("2", first), ("5", second)):
            self.weights[f"{layer}_weight"] = nn.Parameter(torch.ones(config.members, width))
            self.weights[f"{layer}_bias"] = nn.Parameter(torch.zeros(config.members, width))
            self.register_buffer(f"{layer}_running_mean", torch.zeros(config.members, width))
            self.register_buffer(f"{layer}_running_var", torch.ones(config.members, width))

    def forward(self, rows: Tensor, *, momentum: float = BATCH_NORM_MOMENTUM) -> Tensor:
        """Logits [E, B, K] of pixels [E, B, D], normalised by their own statistics."""
        x = self._linear("0", rows).relu()
        x = self._batch_norm("2", x, momentum)
        x = self._linear("3", x).relu()
        x = self._batch_norm("5", x, momentum)
        return self._linear("6", x)

    def member_state(self) -> dict[str, Tensor]:
        """Weights by `<member>.layers.<layer>.<name>`, as `fold_members` reads them."""
        tensors: Mapping[str, Tensor] = {**self.weights, **dict(self.named_buffers())}
        state = {}
        for member in range(len(self.weights["0_bias"])):
            for key, stacked in sorted(tensors.items()):
                layer, name = key.split("_", 1)
                state[f"{member}.layers.{layer}.{name}"] = stacked[member].detach().clone()
        return state

    def _linear(self, layer: str, x: Tensor) -> Tensor:
        """A linear layer of each member: [E, B, in] -> [E, B, out]."""
        bias = self.weights[f"{layer}_bias"][:, None, :]
        return torch.baddbmm(bias, x, self.weights[f"{layer}_weight"].transpose(1, 2))

    def _batch_norm(self, layer: str, x: Tensor, momentum: float) -> Tensor:
        """BatchNorm of each member over its own pixels: [E, B, H]."""
        count, pixels, width = x.shape
        normalised = F.batch_norm(
            x.transpose(0, 1).reshape(pixels, count * width),
            self.get_buffer(f"{layer}_running_mean").view(-1),
            self.get_buffer(f"{layer}_running_var").view(-1),
            self.weights[f"{layer}_weight"].view(-1),
            self.weights[f"{layer}_bias"].view(-1),
            training=True,
            momentum=momentum,
            eps=BATCH_NORM_EPS,
        )
        return normalised.view(pixels, count, width).transpose(0, 1)


def members_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over the members of each one's mean cross-entropy, as if it trained alone.

    Args:
        logits: [E, B, K].
        labels: [E, B].
    """
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten()) * len(labels)
