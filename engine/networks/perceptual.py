"""Perceptual distances: published LPIPS, and the same computation on a bundle's own trunk.

The package lpips brings the published trunks and their heads. It takes seconds to import, with
torchvision and half of torch behind it, and most classes have a trunk of their own: it is imported
where a published trunk is asked for.
"""

import pickle
import urllib.error
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from editvec.engine.errors import EngineSettingsError, ShapeError, WeightsUnavailableError
from editvec.engine.networks.config import PerceptualConfig
from editvec.engine.networks.perceptual_layer import SMALLEST_LENGTH, layer_distance, length
from editvec.engine.networks.trunks import PUBLISHED_TRUNKS
from editvec.engine.networks.trunks import PublishedTrunk as PublishedTrunk
from editvec.engine.shapes import check_images

# lpips names the trunks, torchvision publishes their weights
_PUBLISHED: Mapping[PublishedTrunk, str] = {
    "vgg": "VGG16_Weights.IMAGENET1K_V1",
    "alex": "AlexNet_Weights.IMAGENET1K_V1",
    "squeeze": "SqueezeNet1_1_Weights.IMAGENET1K_V1",
}
# Of the pictures that the published trunks were trained on, in [-1, 1].
_CHANNEL_MEANS = (-0.030, -0.088, -0.188)
_CHANNEL_DEVIATIONS = (0.458, 0.448, 0.450)


class Scaling(nn.Module):
    """Images in [-1, 1] -> each channel with the mean and deviation that trunks expect."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(_CHANNEL_MEANS)[None, :, None, None])
        self.register_buffer("scale", torch.tensor(_CHANNEL_DEVIATIONS)[None, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Scaled images, [N, 3, H, W]."""
        return (images - self.shift) / self.scale


class Head(nn.Module):
    """Weights the channels of one layer, [N, C, h, w] -> [N, 1, h, w]; stored as lpips does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, differences: Tensor) -> Tensor:
        """The weighted sum over the channels."""
        weighted: Tensor = self.model(differences)
        return weighted


class PerceptualDistance(nn.Module):
    """Zhang et al. 2018, eq. 1: unit-normalised features, squared difference, weighted sum.

    Images are in [0, 1] here (lpips' `normalize=True`), because they are masked in [0, 1]. The
    features of a target can be computed once and compared many times.

    Args:
        name: Name that travels with every value, `lpips/<trunk>` or `perceptual/<trunk>`.
        trunk: [N, 3, H, W] -> activations, one map for each head.
        heads: One `Head`, or lpips' own, per activation; its weights are non-negative.
    """

    def __init__(self, name: str, *, trunk: nn.Module, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.name = name
        self.scaling = Scaling()
        self.trunk = trunk
        self.heads = nn.ModuleList(heads)

    def features(self, images: Tensor) -> list[Tensor]:
        """Activations, each scaled to unit length over its channels.

        Args:
            images: [N, 3, H, W] in [0, 1].

        Returns:
            One [N, C, h, w] per layer.
        """
        check_images(images)
        activations = self.trunk(self.scaling(2 * images - 1))
        return [_unit_length(activation) for activation in activations]

    def distance(self, features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> Tensor:
        """Distance between two results of `features`.

        Returns:
            [N], 0 for equal images.

        Raises:
            ShapeError: The features belong to other sizes or another trunk.
        """
        self._check_shapes(features_a, features_b)
        total = features_a[0].new_zeros(len(features_a[0]))  # [N]
        for head, a, b in zip(self.heads, features_a, features_b, strict=True):
            total = total + head((a - b) ** 2).mean([2, 3])[:, 0]
        return total

    def distance_to(self, images: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Distance of images to what `features` gave of others; a gradient takes less memory.

        Args:
            images: [N, 3, H, W] in [0, 1].
            features: Of the targets; they are not derived.

        Returns:
            [N], as `distance(self.features(images), features)`; first derivatives only.

        Raises:
            ShapeError: The features belong to other sizes or another trunk.
        """
        if any(parameter.requires_grad for parameter in self.parameters()) or self.training:
            return self.distance(self.features(images), features)
        check_images(images)
        activations = self.trunk(self.scaling(2 * images - 1))
        self._check_shapes(activations, features)
        total = images.new_zeros(len(images))  # [N]
        for head, activation, target in zip(self.heads, activations, features, strict=True):
            total = total + layer_distance(activation, target, _head_weight(head))
        return total

    def _check_shapes(self, features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> None:
        shapes = [list(feature.shape) for feature in features_a]
        if len(shapes) != len(self.heads) or shapes != [list(f.shape) for f in features_b]:
            raise ShapeError(
                f"features_a, features_b: expected {len(self.heads)} pairs of equal shapes, "
                f"got {shapes} and {[list(f.shape) for f in features_b]}"
            )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance between two batches of images in [0, 1], [N]."""
        return self.distance(self.features(a), self.features(b))


def _unit_length(activation: Tensor) -> Tensor:
    """Scales [N, C, h, w] to unit length over the channels."""
    return activation / (length(activation) + SMALLEST_LENGTH)


def _head_weight(head: nn.Module) -> Tensor:
    """The weights of a head's channels, [C]."""
    (layer,) = (module for module in head.modules() if isinstance(module, nn.Conv2d))
    return layer.weight[0, :, 0, 0]


# ----------------------------------------------------------------------------------------------
# A bundle's own trunk


class SmallTrunk(nn.Module):
    """Convolutional stages of 3x3 kernels; each activation is taken after its stage's ReLU.

    Every stage after the first halves the size by average pooling, and the last one has two
    convolutions, so that the default sees 62 pixels with 0.22 million parameters.

    Args:
        channels: Channels of the stages, fine to coarse.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        width = 3
        for index, out in enumerate(channels):
            layers: list[nn.Module] = [nn.AvgPool2d(2)] if index else []
            layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()]
            if index == len(channels) - 1:
                layers += [nn.Conv2d(out, out, 3, padding=1), nn.ReLU()]
            stages.append(nn.Sequential(*layers))
            width = out
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Activations of the stages, fine to coarse.

        Raises:
            ShapeError: The images are too small for the pooling.
        """
        minimum = 2 ** (len(self.stages) - 1)
        if min(images.shape[2:]) < minimum:
            raise ShapeError(
                f"images: expected at least {minimum}x{minimum} pixels, got {list(images.shape)}"
            )
        activations = []
        for stage in self.stages:
            images = stage(images)
            activations.append(images)
        return activations


def build_perceptual(config: PerceptualConfig) -> PerceptualDistance:
    """A distance on an untrained small trunk; its heads weigh every channel and layer alike.

    The name is `perceptual/<trunk>`: LPIPS means the published trunks and nothing else.
    """
    heads = []
    for channels in config.channels:
        head = Head(channels)
        for weight in head.parameters():
            nn.init.constant_(weight, 1 / len(config.channels))
        heads.append(head)
    trunk = SmallTrunk(config.channels)
    return PerceptualDistance(f"perceptual/{config.trunk}", trunk=trunk, heads=heads)


# ----------------------------------------------------------------------------------------------
# The published trunks


def load_lpips(trunk: PublishedTrunk = "vgg", *, weights: Path | None = None) -> PerceptualDistance:
    """LPIPS 0.1 with a published trunk, frozen, in eval mode.

    Args:
        trunk: One of `PUBLISHED_TRUNKS`. The linear heads are part of the lpips package.
        weights: torchvision's weight file of the trunk; None takes torch hub's cache folder, and
            downloads the file to it when it is not there.

    Raises:
        SettingsError: Unknown trunk.
        WeightsUnavailableError: The trunk's weights are neither cached, given nor downloadable.
    """
    if trunk not in PUBLISHED_TRUNKS:
        raise EngineSettingsError(
            f"trunk: expected one of {', '.join(PUBLISHED_TRUNKS)}, got {trunk!r}"
        )
    import lpips

    url = _published_url(trunk)
    state = _trunk_state(url, weights)
    # building draws initial weights that are overwritten: keep the caller's random state
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings(
            "ignore", message="The parameter 'pretrained'", module="torchvision"
        )
        warnings.filterwarnings("ignore", message="Arguments other than", module="torchvision")
        metric = lpips.LPIPS(net=trunk, version="0.1", pnet_rand=True, verbose=False)
    wanted = {key: f"features.{key.partition('.')[2]}" for key in metric.net.state_dict()}
    missing = [name for name in wanted.values() if name not in state]
    if missing:
        raise WeightsUnavailableError(
            f"weights: expected torchvision's {Path(url).name}, but {missing[0]} is missing"
        )
    try:
        metric.net.load_state_dict({key: state[name] for key, name in wanted.items()})
    except RuntimeError as exc:
        raise WeightsUnavailableError(
            f"weights: expected torchvision's {Path(url).name}, but its shapes differ"
        ) from exc
    distance = PerceptualDistance(f"lpips/{trunk}", trunk=metric.net, heads=list(metric.lins))
    return distance.eval().requires_grad_(False)


def _trunk_state(url: str, weights: Path | None) -> dict[str, Tensor]:
    """The state dict of a published trunk: given file, cached file, else download."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    path = weights if weights is not None else cached
    if weights is not None and not weights.is_file():
        raise WeightsUnavailableError(f"weights: {weights} does not exist; get it from {url}")
    if not path.is_file():
        try:
            torch.hub.download_url_to_file(url, str(_made(cached)), _digest_prefix(url), False)
        except (OSError, urllib.error.URLError, RuntimeError) as exc:
            raise WeightsUnavailableError(
                f"the weights of the perceptual trunk could not be downloaded "
                f"({_first_line(exc)}): get {url} and put it in {cached.parent}, or give the file"
            ) from exc
    try:
        return cast(dict[str, Tensor], torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as exc:
        raise WeightsUnavailableError(
            f"weights: {path} cannot be read as a weight file ({_first_line(exc)}); get {url}"
        ) from exc


def _made(path: Path) -> Path:
    """`path`, after its folder was made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _digest_prefix(url: str) -> str:
    """Torchvision ends a file's name with the first digits of its SHA-256."""
    return Path(url).stem.rpartition("-")[2]


def _published_url(trunk: PublishedTrunk) -> str:
    import torchvision

    return str(torchvision.models.get_weight(_PUBLISHED[trunk]).url)


def _first_line(exc: BaseException) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__
