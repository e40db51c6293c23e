"""Training of the segmentation branch on a few labelled images.

All members train in one batched step, each on pixels of its own. Native feature maps are kept and
sampled where a pixel was drawn, so that no image is ever spread out to [H, W, D].

Rounds of cross-validation leave out one fold of the images each and judge the members on it; the
last round trains on all images, and its members are the result.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from editvec.engine.errors import DivergedError, EngineMaskError, EngineSettingsError, ShapeError
from editvec.engine.networks.config import SegmentationConfig
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.engine.segmentation.feature_groups import check_features
from editvec.engine.shapes import IGNORED, check_mask
from editvec.engine.training.chance import step_generator
from editvec.engine.training.checkpoints import (
    adam_tensors,
    restore_adam,
    with_prefix,
    without_prefix,
)
from editvec.engine.training.loop import TrainingState
from editvec.engine.training.members import Members, members_loss
from editvec.engine.training.pixels import PixelFeatures, PixelSampler
from editvec.engine.training.settings import SegmentationTraining

CALIBRATION_STEPS = 100
LOGGED_STEPS = 10

# Loss is compared over windows of this many steps; less than this gain is no improvement.
WINDOW_STEPS = 100
MIN_GAIN = 0.02

FEW_STEPS = 100  # that need not get beyond one answer everywhere

NOT_PREDICTED = -1

_FOLD_STREAM, _INIT_STREAM, _CALIBRATION_STREAM = 2, 3, 4


class HeldOut(NamedTuple):
    """What members said of images that they had not been trained on.

    Attributes:
        masks: Labels, long [N, H, W]; `NOT_PREDICTED` where no round has judged the image yet.
        uncertainty: Jensen-Shannon divergence in nats, float32 [N, H, W].
    """

    masks: Tensor
    uncertainty: Tensor


class SegmentationTrainee:
    """Members of a segmentation branch, one round of training after another; see `run_training`.

    Attributes:
        members: Those of the round that is being made.
        folds: Of each image, the round that leaves it out: long [N].
        total_steps: Of all rounds.
    """

    def __init__(
        self,
        features: PixelFeatures,
        masks: Tensor,
        config: SegmentationConfig,
        *,
        settings: SegmentationTraining,
        seed: int,
        num_folds: int = 0,
        valid: Tensor | None = None,
    ) -> None:
        """Prepare the first round.

        Args:
            features: Of all labelled images.
            masks: Their labels, integers [N, H, W]; `IGNORED` pixels are never drawn.
            config: Labels, members, hidden sizes and feature channels.
            settings: How long and how.
            seed: Of the weights, the pixels and the folds.
            num_folds: Rounds of cross-validation; 0 is none, else 2 to N.
            valid: Pixels that count, bool [H, W]; None takes all.

        Raises:
            ShapeError: The masks do not fit.
            SettingsError: `num_folds` does not fit the images.
            MaskError: Of an image, every pixel that counts is ignored.
        """
        check_mask(
            masks,
            size=features.size,
            num_labels=config.num_labels,
            name="masks",
            may_ignore=True,
        )
        if len(masks) != features.count:
            raise ShapeError(f"masks: expected {features.count} images, got {len(masks)}")
        if num_folds and not 2 <= num_folds <= features.count:
            raise EngineSettingsError(
                f"num_folds: expected 0, or 2 to {features.count} for as many images, "
                f"got {num_folds}"
            )
        self._valid = torch.ones(features.size, dtype=torch.bool) if valid is None else valid.cpu()
        counted = (self._valid & (masks.cpu() != IGNORED)).flatten(1).any(dim=1)
        if not counted.all():
            image = int((~counted).nonzero()[0])
            raise EngineMaskError(f"masks: every pixel of image {image} that counts is ignored")
        self.settings = settings
        self._features, self._config, self._seed = features, config, seed
        self._masks = masks.cpu()
        self._num_folds = num_folds
        self.folds = _folds(features.count, num_folds, seed=seed)
        self._predicted = torch.full(masks.shape, NOT_PREDICTED, dtype=torch.int16)
        self._uncertainty = torch.zeros(masks.shape, dtype=torch.float16)
        self._first_loss: float | None = None
        self._begin(0)

    @property
    def total_steps(self) -> int:
        """Steps of all rounds."""
        return (self._num_folds + 1) * self.settings.num_steps

    @property
    def held_out(self) -> HeldOut:
        """What the rounds of cross-validation have predicted so far."""
        return HeldOut(self._predicted.long(), self._uncertainty.float())

    # --- the loop's side ---

    def step(self, step: int) -> dict[str, Any]:
        """One update of all members; the last one of a round judges the fold that was left out.

        Raises:
            DivergedError: The loss is not a number, or a round ends no better than it began.
        """
        number, inner = divmod(step, self.settings.num_steps)
        if number != self._round:
            self._begin(number)
        measured = self._update(step, inner) if inner < self._last else {}
        if inner + 1 == self.settings.num_steps:
            self._calibrate(number)
            if number < self._num_folds:
                self._judge(number)
        return measured

    def state(self) -> TrainingState:
        """Members with their moments, predictions so far, and how the round stands."""
        tensors = {
            **with_prefix("members", self.members.state_dict()),
            **with_prefix("adam", adam_tensors(self._optimizer, self.members)),
            "predicted": self._predicted,
            "uncertainty": self._uncertainty,
        }
        record = {
            "round": self._round,
            "last": self._last,
            "first_loss": self._first_loss,
            "plateau": self._plateau.record(),
        }
        return TrainingState(tensors, record)

    def restore(self, state: TrainingState) -> None:
        """Put back what `state` gave."""
        self._begin(state.record["round"])
        self.members.load_state_dict(without_prefix("members", state.tensors))
        restore_adam(self._optimizer, self.members, without_prefix("adam", state.tensors))
        self._predicted = state.tensors["predicted"].clone()
        self._uncertainty = state.tensors["uncertainty"].clone()
        self._last = state.record["last"]
        self._first_loss = state.record["first_loss"]
        self._plateau.restore(state.record["plateau"])

    # --- a round ---

    def _begin(self, number: int) -> None:
        """New members, and the pixels of the images that the round trains on."""
        self._round = number
        chance = step_generator(self._seed, number, stream=_INIT_STREAM)
        self.members = Members(self._config, generator=chance).to(self._features.device)
        self._optimizer = torch.optim.Adam(
            self.members.parameters(), lr=self.settings.learning_rate, fused=True
        )
        allowed = (self.folds != number)[:, None, None] & self._valid & (self._masks != IGNORED)
        self._sampler = PixelSampler(self._masks, allowed, label_power=self.settings.label_power)
        self._plateau = _Plateau(patience=self.settings.patience_steps)
        self._last = self.settings.num_steps
        self._first_loss = None

    def _draw(self, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features [E, B, D] of pixels for each member, and their labels [E, B]."""
        shape = (self._config.members, self.settings.batch_size)
        pixels = self._sampler.draw(shape[0] * shape[1], chance)
        labels = self._masks[tuple(pixels.t())].long()
        device = self._features.device
        rows = self._features.rows(pixels.to(device))
        return rows.view(*shape, -1), labels.view(shape).to(device)

    def _update(self, step: int, inner: int) -> dict[str, Any]:
        """Adam at a constant rate until time or patience is up, then a cosine to 0."""
        ramp_steps = round(self.settings.ramp_down * self.settings.num_steps)
        left = self._last - inner
        ramp = 0.5 - 0.5 * math.cos(math.pi * min(1.0, left / max(ramp_steps, 1)))
        rate = self.settings.learning_rate * ramp
        rows, labels = self._draw(step_generator(self._seed, step))
        with torch.enable_grad():
            logits = self.members(rows)
            loss = members_loss(logits, labels)
        _descend(self._optimizer, loss, rate)
        mean = loss.detach() / len(labels)
        if self._first_loss is None:
            self._first_loss = float(mean)
        if self._plateau.reached(mean) and left > ramp_steps:
            self._last = inner + 1 + ramp_steps
        if inner % LOGGED_STEPS and inner + 1 < self._last:
            return {}
        accuracy = float((logits.detach().argmax(dim=2) == labels).double().mean())
        return {
            "round": self._round,
            "loss": float(mean),
            "accuracy": accuracy,
            "learning_rate": rate,
        }

    @torch.no_grad()
    def _calibrate(self, number: int) -> None:
        """Statistics of the final weights instead of a trail of earlier ones.

        The pixels that they are taken from tell whether the round was worth it.
        """
        chance = step_generator(self._seed, number, stream=_CALIBRATION_STREAM)
        total = torch.zeros([], device=self._features.device)
        counts = torch.zeros(self._config.num_labels, device=self._features.device)
        for index in range(CALIBRATION_STEPS):
            rows, labels = self._draw(chance)
            total += members_loss(self.members(rows, momentum=1 / (index + 1)), labels)
            counts += torch.bincount(labels.flatten(), minlength=len(counts))
        loss = float(total) / (CALIBRATION_STEPS * self._config.members)
        bound = math.inf if self._first_loss is None else self._first_loss
        known = "at its start"
        # of members that have collapsed: they know how common each part is, and nothing else
        shares = counts[counts > 0] / counts.sum()
        blind = float(-(shares * shares.log()).sum())
        if self.settings.num_steps >= FEW_STEPS and 0 < blind < bound:
            bound, known = blind, "for one answer everywhere"
        if not loss < bound:
            raise DivergedError(
                f"the loss is {loss:.4g} at the end of round {number + 1}, {bound:.4g} {known}"
            )

    @torch.no_grad()
    def _judge(self, number: int) -> None:
        """Masks and uncertainty of the fold that the round has left out."""
        branch = SegmentationBranch.from_members(self.members.member_state(), self._config)
        branch = branch.to(self._features.device)
        for image in (self.folds == number).nonzero()[:, 0].tolist():
            maps = self._features.maps(image)
            self._predicted[image] = branch(maps)[0].argmax(dim=0).to("cpu", torch.int16)
            self._uncertainty[image] = branch.uncertainty(maps)[0].to("cpu", torch.float16)


def train_segmentation(
    features: Sequence[Tensor],
    masks: Tensor,
    config: SegmentationConfig,
    *,
    seed: int,
    settings: SegmentationTraining | None = None,
    on_step: Callable[[int, dict[str, Any]], None] | None = None,
) -> dict[str, Tensor]:
    """Train the members of a segmentation branch in memory, without cross-validation.

    Args:
        features: Native feature maps of all labelled images [N, C_i, h_i, w_i], coarse to fine.
        masks: Their labels, integers [N, H, W] at the size of the last map.
        config: Labels, members, hidden sizes and feature channels.
        seed: Of the initial weights and of the pixels.
        settings: How long and how; None for the defaults.
        on_step: Called with the step and what it measured, on the pixels it trained on and before
            its update: round, loss in nats, accuracy, learning rate; every tenth step.

    Returns:
        Weights of all members, `<member>.layers.{0,2,3,5,6}.*`, on the device of the features:
        what `SegmentationBranch.from_members` reads.

    Raises:
        ShapeError: Features or masks do not fit the settings or each other.
        NonFiniteError: A feature is not a number.
        DivergedError: The loss is not, or a round ends no better than it began.
    """
    check_features(features, config.feature_channels)
    trainee = SegmentationTrainee(
        PixelFeatures.of_maps(features),
        masks,
        config,
        settings=settings or SegmentationTraining(),
        seed=seed,
    )
    for step in range(trainee.total_steps):
        measured = trainee.step(step)
        if measured and on_step is not None:
            on_step(step, measured)
    return trainee.members.member_state()


def _descend(optimizer: torch.optim.Adam, loss: Tensor, learning_rate: float) -> None:
    optimizer.param_groups[0]["lr"] = learning_rate
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


def _folds(count: int, num_folds: int, *, seed: int) -> Tensor:
    """The round that leaves out each image, long [N]; -1 where none does."""
    if not num_folds:
        return torch.full((count,), -1)
    order = torch.randperm(count, generator=step_generator(seed, 0, stream=_FOLD_STREAM))
    folds = torch.empty(count, dtype=torch.long)
    folds[order] = torch.arange(count) % num_folds
    return folds


class _Plateau:
    """Watches the loss over windows of steps."""

    def __init__(self, *, patience: int) -> None:
        self.patience = patience
        self.losses: list[Tensor] = []
        self.best = math.inf
        self.stale_steps = 0

    def reached(self, loss: Tensor) -> bool:
        """Whether `patience` steps brought no improvement, at the end of a window."""
        self.losses.append(loss)
        if len(self.losses) < WINDOW_STEPS:
            return False
        mean = float(torch.stack([one.to(loss.device) for one in self.losses]).mean())
        self.losses.clear()
        if not math.isfinite(mean):
            raise DivergedError(f"the loss is {mean}")
        improved = mean < self.best * (1 - MIN_GAIN)
        self.best = min(self.best, mean)
        self.stale_steps = 0 if improved else self.stale_steps + WINDOW_STEPS
        return self.stale_steps >= self.patience

    def record(self) -> dict[str, Any]:
        """As JSON, which has no infinity."""
        best = None if math.isinf(self.best) else self.best
        losses = [float(loss) for loss in self.losses]
        return {"losses": losses, "best": best, "stale_steps": self.stale_steps}

    def restore(self, record: dict[str, Any]) -> None:
        """Put back what `record` gave."""
        self.losses = [torch.tensor(loss) for loss in record["losses"]]
        self.best = math.inf if record["best"] is None else record["best"]
        self.stale_steps = record["stale_steps"]
