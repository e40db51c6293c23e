"""The engine's tasks on random networks, each in two ways that have to agree."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine import naive
from editvec.engine.editing.editing import apply_deltas
from editvec.engine.editing.losses import PRESETS, Networks, Objective
from editvec.engine.networks.config import (
    EncoderConfig,
    GeneratorConfig,
    PerceptualConfig,
    SegmentationConfig,
)
from editvec.engine.networks.encoder import Encoder
from editvec.engine.networks.generator import Generator
from editvec.engine.networks.perceptual import PerceptualDistance, build_perceptual
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.engine.segmentation.folding import BATCH_NORM_EPS
from editvec.engine.training.members import Members

ROI_SHARES = (0.02, 0.10, 0.40)
# Largest difference of the two ways, float32: of values relative to the largest one, and of labels
# the share of pixels whose two best logits are so close that rounding decides.
VALUE_TOLERANCE = 1e-3
LABEL_TOLERANCE = 1e-3

Way = Callable[[], Sequence[Tensor]]


@dataclass(frozen=True)
class Task:
    """One task in two ways, which return the same tensors."""

    naive: Way
    ours: Way


class Workload:
    """Random networks of the published shape, and inputs for them.

    Args:
        resolution: Output size in pixels.
        members: Of the ensemble.
        labels: Of the mask.
        images: How many of them a call of ours does at once; the naive way takes one at a time.
        device: Where everything is.
        is_small: Narrow networks and a small perceptual trunk, to see that all works.
    """

    def __init__(
        self,
        *,
        resolution: int,
        members: int,
        labels: int,
        images: int = 1,
        device: str = "cpu",
        is_small: bool = False,
    ) -> None:
        self.chance = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            generator, encoder, perceptual = _networks(resolution, is_small=is_small)
        hidden = (256, 128) if labels >= 32 else (128, 32)
        config = SegmentationConfig(labels, generator.config.feature_channels, members, hidden)
        state = _random_members(config, self.chance)
        self.segmentation = SegmentationBranch.from_members(state, config, generator.constant)
        self.members = naive.load_members(state, config).to(device)
        del state
        self.networks = Networks(
            synthesis=generator.synthesis.to(device),
            segmentation=self.segmentation.to(device).eval(),
            perceptual=perceptual.to(device),
            encoder=encoder.to(device),
        )
        self.perceptual = perceptual
        shape = (images, generator.num_ws, generator.config.w_dim)
        self.ws = self._draw(*shape).to(device)
        self.deltas = 0.1 * self._draw(1, *shape[1:]).to(device)
        self.scales = torch.ones(1, device=device)
        with torch.no_grad():
            self.targets = self.networks.synthesis(self.ws + self.deltas).clamp(-1, 1)
        masks = torch.randint(
            labels, (images, resolution, resolution), generator=self.chance, dtype=torch.long
        )
        self.masks = masks.to(device)

    @staticmethod
    def names() -> list[str]:
        """What `task` knows."""
        return list(_TASKS)

    def task(self, name: str) -> Task:
        """Make one task; its targets take memory as long as it lives."""
        return _TASKS[name](self)

    # Each task.

    @property
    def _edited(self) -> Tensor:
        return apply_deltas(self.ws, self.deltas, self.scales)

    def _apply(self) -> Task:
        synthesis = self.networks.synthesis

        @torch.no_grad()
        def one_by_one() -> Sequence[Tensor]:
            return [torch.cat([synthesis(one) for one in torch.split(self._edited, 1)])]

        @torch.inference_mode()
        def ours() -> Sequence[Tensor]:
            return [synthesis(self._edited)]

        return Task(one_by_one, ours)

    def _apply_with_mask(self) -> Task:
        @torch.inference_mode()
        def ours() -> Sequence[Tensor]:
            images, features = self.networks.synthesis.with_features(self._edited)
            return [images, self.segmentation(features).argmax(dim=1)]

        def plainly() -> Sequence[Tensor]:
            return naive.segment_images(self.networks.synthesis, self.members, self._edited)

        return Task(plainly, ours)

    def _learn(self, share: float) -> Task:
        roi = self._roi(share)
        objective = Objective(
            self.networks,
            PRESETS["learn"],
            images=self.targets,
            base_ws=self.ws,
            roi=roi,
            target_mask=self.masks,
        )

        def plainly() -> Sequence[Tensor]:
            return self._edit_plainly(roi, self.masks)

        return Task(plainly, lambda: _step(objective, torch.zeros_like(self.ws)))

    def _refine(self) -> Task:
        roi = self._roi(0.10)

        def plainly() -> Sequence[Tensor]:
            mask = naive.segment_images(self.networks.synthesis, self.members, self._edited)[1]
            return self._edit_plainly(roi, mask)

        def ours() -> Sequence[Tensor]:
            with torch.no_grad():
                features = self.networks.synthesis.with_features(self._edited).features
                mask = self.segmentation(features).argmax(dim=1)
            del features
            objective = Objective(
                self.networks,
                PRESETS["refine"],
                images=self.targets,
                base_ws=self.ws,
                roi=roi,
                target_mask=mask,
            )
            return _step(objective, torch.zeros_like(self.ws))

        return Task(plainly, ours)

    def _embed(self) -> Task:
        weights = PRESETS["embed"]
        objective = Objective(self.networks, weights, images=self.targets)

        def plainly() -> Sequence[Tensor]:
            synthesis = self.networks.synthesis
            found = []
            for ws, target in zip(
                torch.split(self.ws, 1), torch.split(self.targets, 1), strict=True
            ):
                variable = ws.clone().requires_grad_()
                loss = naive.embedding_loss(
                    synthesis, self.perceptual, ws=variable, target=target, weights=weights
                )
                found.append((loss.detach(), *torch.autograd.grad(loss, variable)))
            return _stacked(found)

        return Task(plainly, lambda: _step(objective, self.ws))

    def _encode(self) -> Task:
        encoder = self.networks.encoder
        assert encoder is not None

        @torch.no_grad()
        def one_by_one() -> Sequence[Tensor]:
            return [torch.cat([encoder(one) for one in torch.split(self.targets, 1)])]

        @torch.inference_mode()
        def ours() -> Sequence[Tensor]:
            return [encoder(self.targets)]

        return Task(one_by_one, ours)

    def _distance(self) -> Task:
        targets = (self.targets + 1) / 2
        with torch.no_grad():
            images = (self.networks.synthesis(self.ws).clamp(-1, 1) + 1) / 2
            known = self.perceptual.features(targets)

        @torch.no_grad()
        def plainly() -> Sequence[Tensor]:
            pairs = zip(torch.split(images, 1), torch.split(targets, 1), strict=True)
            return [torch.cat([self.perceptual(one, target) for one, target in pairs])]

        @torch.inference_mode()
        def ours() -> Sequence[Tensor]:
            return [self.perceptual.distance_to(images, known)]

        return Task(plainly, ours)

    # What tasks share.

    def _edit_plainly(self, roi: Tensor, masks: Tensor) -> Sequence[Tensor]:
        """Losses and gradients of the start, image by image."""
        found = []
        for index in range(len(self.ws)):
            one = slice(index, index + 1)
            variable = self.ws[one].clone().requires_grad_()
            loss = naive.edit_loss(
                self.networks.synthesis,
                self.members,
                self.perceptual,
                ws=variable,
                target=self.targets[one],
                roi=roi[one],
                mask=masks[one],
                weights=PRESETS["learn"],
            )
            found.append((loss.detach(), *torch.autograd.grad(loss, variable)))
        return _stacked(found)

    def _roi(self, share: float) -> Tensor:
        """A square in the middle with a share of the pixels, bool [N, 1, H, W]."""
        size = self.targets.shape[2]
        side = max(1, round(size * share**0.5))
        roi = torch.zeros(len(self.ws), 1, size, size, dtype=torch.bool, device=self.ws.device)
        first = (size - side) // 2
        roi[:, :, first : first + side, first : first + side] = True
        return roi

    def _draw(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.chance)


_TASKS: dict[str, Callable[[Workload], Task]] = {
    "apply, image": Workload._apply,
    "apply, image and mask": Workload._apply_with_mask,
    **{
        f"learning step, ROI {share:.0%}": partial(Workload._learn, share=share)
        for share in ROI_SHARES
    },
    "refining: mask and one step, ROI 10%": Workload._refine,
    "embedding step": Workload._embed,
    "encoder": Workload._encode,
    "perceptual distance to a target": Workload._distance,
}


def differences(found: Sequence[Tensor], expected: Sequence[Tensor]) -> tuple[float, float]:
    """Largest difference of values, relative to the largest; largest share of unequal labels."""
    of_values = of_labels = 0.0
    for one, other in zip(found, expected, strict=True):
        if one.is_floating_point():
            of_values = max(of_values, float((one - other).abs().max() / other.abs().max()))
        else:
            of_labels = max(of_labels, float((one != other).double().mean()))
    return of_values, of_labels


def _step(objective: Objective, start: Tensor) -> Sequence[Tensor]:
    """Losses and gradients at `start`."""
    variable = start.clone().requires_grad_()
    total = objective(variable).total
    (gradient,) = torch.autograd.grad(total.sum(), variable)
    return [total.detach(), gradient]


def _stacked(found: Sequence[tuple[Tensor, ...]]) -> Sequence[Tensor]:
    return [
        torch.stack([loss for loss, _ in found]),
        torch.cat([gradient for _, gradient in found]),
    ]


def _networks(resolution: int, *, is_small: bool) -> tuple[Generator, Encoder, PerceptualDistance]:
    """Frozen networks with random weights: config-f, its encoder, and VGG16 with lpips' heads."""
    base = 8 * resolution if is_small else 32768
    config = GeneratorConfig(resolution, channel_base=base, mapping_layers=2)
    generator = Generator(config)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.1)
    encoder = Encoder(EncoderConfig.for_generator(config))
    for head in encoder.heads:
        rows: Any = head.rows
        torch.nn.init.normal_(rows.weight, std=0.01)
    perceptual = build_perceptual(PerceptualConfig("random")) if is_small else _random_lpips()
    for network in (generator, encoder, perceptual):
        network.eval().requires_grad_(False)
    return generator, encoder, perceptual


def _random_lpips() -> PerceptualDistance:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torchvision")
        import lpips

        metric = lpips.LPIPS(net="vgg", version="0.1", pnet_rand=True, verbose=False)
    return PerceptualDistance("random/vgg", trunk=metric.net, heads=list(metric.lins))


def _random_members(config: SegmentationConfig, chance: torch.Generator) -> dict[str, Tensor]:
    """Weights of members, with statistics and biases that are not those of the start."""
    state = Members(config, generator=chance).member_state()
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=chance).sub_(BATCH_NORM_EPS)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(std=0.1, generator=chance)
    return state
