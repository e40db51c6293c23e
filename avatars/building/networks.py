"""The networks that learn from renders alone: perceptual trunk, identity, attributes."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from editvec.avatars.building.dataset import Renders
from editvec.avatars.building.generator import RESOLUTION
from editvec.avatars.building.supervised import fit
from editvec.avatars.drawing import attributes
from editvec.avatars.drawing.parameters import PARAMETERS, index, to_unit
from editvec.avatars.drawing.render import LABELS
from editvec.engine.networks.classifier import AttributeClassifier, ConvolutionStages
from editvec.engine.networks.config import ClassifierConfig, PerceptualConfig
from editvec.engine.networks.identity import IdentityNetwork
from editvec.engine.networks.perceptual import SmallTrunk

PERCEPTUAL = PerceptualConfig(trunk="avatars")
CLASSIFIER = ClassifierConfig(resolution=RESOLUTION, outputs=attributes.ATTRIBUTE_NAMES)
# Who somebody is, as opposed to what the face does, where it is and what stands around it.
IDENTITY_PARAMETERS = (
    "head_width",
    "jaw",
    "skin_tone",
    "skin_hue",
    "hair_tone",
    "hair_warmth",
    "hair_part",
    "iris_hue",
    "eye_size",
    "eye_spacing",
    "nose_size",
    "ear_size",
    "mouth_width",
)
IDENTITY = ClassifierConfig(resolution=RESOLUTION, outputs=IDENTITY_PARAMETERS)
# The width of the soft edge of an attribute in units of its margin.
EDGE = 0.05


class TrunkWithHeads(nn.Module):
    """The perceptual trunk and what it is trained to say: parts at every scale, and parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = SmallTrunk(PERCEPTUAL.channels)
        self.parts = nn.ModuleList(
            nn.Conv2d(channels, len(LABELS), 1) for channels in PERCEPTUAL.channels
        )
        self.parameters_head = nn.Linear(PERCEPTUAL.channels[-1] * 16, len(PARAMETERS))

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Part logits of each stage [N, K, h, w] and unit parameters [N, P]."""
        maps = self.trunk(images)
        coarse = F.adaptive_avg_pool2d(maps[-1], 4).flatten(1)
        parts = [head(x) for head, x in zip(self.parts, maps, strict=True)]
        return parts, self.parameters_head(coarse)


def train_trunk(work: Path, renders: Renders, *, device: str, seed: int) -> SmallTrunk:
    """Train the perceptual trunk to name the parts at every scale and to measure the parameters."""
    masks = torch.from_numpy(renders.mask)
    unit = torch.from_numpy(to_unit(renders.params)).float()

    def loss_of(module: nn.Module, images: Tensor, chosen: Tensor) -> Tensor:
        # lpips' scaling layer shifts and scales by about this much.
        parts, values = module(images * 2)
        total = F.mse_loss(values.float(), unit[chosen].to(images.device)) * 10
        one_hot = F.one_hot(masks[chosen].long(), len(LABELS)).permute(0, 3, 1, 2).float()
        one_hot = one_hot.to(images.device)
        for logits in parts:
            target = F.avg_pool2d(one_hot, RESOLUTION // logits.shape[-1])
            total = total + F.cross_entropy(logits.float(), target)
        return total

    module = fit(
        TrunkWithHeads(),
        loss_of,
        renders,
        path=work / "trunk.safetensors",
        steps=1800,
        batch=32,
        device=device,
        seed=seed,
    )
    trunk = module.trunk
    assert isinstance(trunk, SmallTrunk)
    return trunk


def train_identity(work: Path, renders: Renders, *, device: str, seed: int) -> IdentityNetwork:
    """Train the identity network to measure what makes the person and to ignore the rest."""
    columns = [index(name) for name in IDENTITY_PARAMETERS]
    unit = torch.from_numpy(to_unit(renders.params)[:, columns]).float()

    def loss_of(module: nn.Module, images: Tensor, chosen: Tensor) -> Tensor:
        return F.mse_loss(module(images).float(), unit[chosen].to(images.device))

    network = IdentityNetwork(IDENTITY)
    body = fit(
        network.body,
        loss_of,
        renders,
        path=work / "identity.safetensors",
        steps=1000,
        device=device,
        seed=seed,
    )
    assert isinstance(body, ConvolutionStages)
    network.body = body
    return network.eval()


def train_classifier(
    work: Path, renders: Renders, *, device: str, seed: int
) -> AttributeClassifier:
    """Train the attribute classifier on exact facts with a soft edge."""
    soft = torch.sigmoid(torch.from_numpy(attributes.margins(renders.params) / EDGE)).float()

    def loss_of(module: nn.Module, images: Tensor, chosen: Tensor) -> Tensor:
        logits = module(images).float()
        return F.binary_cross_entropy_with_logits(logits, soft[chosen].to(images.device))

    classifier = fit(
        AttributeClassifier(CLASSIFIER),
        loss_of,
        renders,
        path=work / "classifier.safetensors",
        steps=2500,
        device=device,
        seed=seed,
    )
    assert isinstance(classifier, AttributeClassifier)
    return classifier
