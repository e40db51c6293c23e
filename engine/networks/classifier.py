"""Attribute classifier: images -> one logit per named attribute."""

import torch
from torch import Tensor, nn

from editvec.engine.errors import EngineSettingsError
from editvec.engine.networks.config import ClassifierConfig
from editvec.engine.shapes import check_images

GRID = 4


class AttributeClassifier(nn.Module):
    """A small convolutional network with one output per name in `config.outputs`.

    Binary attributes read an output as a logit; an output trained by regression is read as it is.

    Args:
        config: Resolution, names of the outputs, channels of the stages.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.body = ConvolutionStages(config)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the attributes, in the order of the outputs."""
        return self.config.outputs

    def index(self, name: str) -> int:
        """Column of an attribute.

        Raises:
            SettingsError: The classifier does not know it.
        """
        if name not in self.names:
            raise EngineSettingsError(
                f"attribute: expected one of {list(self.names)}, got {name!r}"
            )
        return self.names.index(name)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, len(names)] of images [N, 3, H, W] in [-1, 1]."""
        logits: Tensor = self.body(images)
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Sigmoid of the logits: [N, len(names)] in [0, 1]."""
        return torch.sigmoid(self(images))


class ConvolutionStages(nn.Module):
    """Stages of convolution, BatchNorm, ReLU and pooling; a linear layer on a coarse grid.

    The grid keeps positions: where a pupil is says where an eye looks.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.resolution = config.resolution
        layers: list[nn.Module] = []
        width = 3
        for channels in config.channels:
            layers += [
                nn.Conv2d(width, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
            width = channels
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        grid = min(GRID, config.resolution >> len(config.channels))
        layers += [nn.ReLU(), nn.AdaptiveAvgPool2d(grid), nn.Flatten()]
        self.layers = nn.Sequential(*layers)
        self.outputs = nn.Linear(width * grid * grid, len(config.outputs))

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1] -> [N, outputs].

        Raises:
            ShapeError: The images are not of the network's resolution.
        """
        check_images(images, resolution=self.resolution)
        outputs: Tensor = self.outputs(self.layers(images))
        return outputs
