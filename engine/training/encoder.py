"""Training of the encoder: reconstruct images through the frozen synthesis network."""

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from editvec.engine.errors import DivergedError, EngineSettingsError
from editvec.engine.networks.config import EncoderConfig
from editvec.engine.networks.encoder import Encoder, passes
from editvec.engine.networks.generator import Generator
from editvec.engine.networks.perceptual import PerceptualDistance
from editvec.engine.training.chance import step_generator
from editvec.engine.training.checkpoints import (
    adam_tensors,
    restore_adam,
    with_prefix,
    without_prefix,
)
from editvec.engine.training.loop import TrainingState, update_average
from editvec.engine.training.settings import EncoderTraining

LOG_STEPS = 10  # between two steps whose losses are logged
LEAST_GAIN = 1e-3  # share by which an error must fall to count as better
EMA_RAMP = 10.0
MOST_RISE = 100.0  # of the error of a validation, over that before the first step


class EncoderBatch(NamedTuple):
    """What one step is trained on.

    Attributes:
        images: [N, 3, H, W] in [-1, 1].
        ws: [M, num_ws, w_dim] of the first M images; of the others, photographs, none is known.
    """

    images: Tensor
    ws: Tensor


class Validation(NamedTuple):
    """How good an encoder is.

    Attributes:
        error: What the training is after: lower is better.
        metrics: What is logged beside it; JSON.
    """

    error: float
    metrics: Mapping[str, Any]


class EncoderTrainee:
    """An encoder, its average and its optimiser; see `editvec.engine.training.loop`.

    Attributes:
        encoder: In training.
        average: Its moving average, in eval mode.
        start_error: Of the validation before the first step; None before it.
        best_error: Of the validations so far; None before the first.
        is_over: Whether validations have stopped to get better; see `patience`.
    """

    def __init__(
        self,
        config: EncoderConfig,
        generator: Generator,
        batches: Callable[[int], EncoderBatch],
        *,
        perceptual: PerceptualDistance | None,
        settings: EncoderTraining,
        seed: int,
        start: Mapping[str, Tensor] | None = None,
        validate: Callable[[Encoder], Validation] | None = None,
    ) -> None:
        """Build the encoder from the seed, on the generator's device.

        Args:
            config: Of the encoder.
            generator: Frozen; receives no gradients.
            batches: The batch of a step: a function of its number alone.
            perceptual: Frozen; None leaves the term out.
            settings: Steps, schedule and weights.
            seed: Of the first weights.
            start: Weights to train on from; None begins anew.
            validate: Measures the average, before the first step too; None takes the last one.
        """
        self.settings = settings
        self.synthesis = generator.synthesis
        self.batches = batches
        self.perceptual = perceptual
        self.validate = validate
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = Encoder(config, w_avg=generator.w_avg).to(generator.w_avg.device)
        if start is not None:
            self.encoder.load_state_dict(dict(start))
        self.average = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        self.start_error: float | None = None
        self.best_error: float | None = None
        self._best = copy.deepcopy(self.average)
        self._waited = 0
        self._optimizer = torch.optim.Adam(
            self.encoder.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99)
        )

    @property
    def result(self) -> Encoder:
        """The averaged encoder at its best validation, or the last; frozen, in eval mode."""
        return self.average if self.best_error is None else self._best

    @property
    def is_better(self) -> bool:
        """Whether a validation was better than that before the first step."""
        return None not in (self.start_error, self.best_error) and (
            self.best_error != self.start_error
        )

    @property
    def is_over(self) -> bool:
        """Whether the validations have stopped to get better."""
        return 0 < self.settings.patience <= self._waited

    # --- the loop's side ---

    def step(self, step: int) -> dict[str, Any]:
        """One update; now and then a validation.

        Raises:
            DivergedError: The loss is not a number, or a validation is far worse than at the
                start.
        """
        measured: dict[str, Any] = {}
        if step == 0:
            measured |= self._validated()
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * _cosine(step / self.settings.num_steps)
        terms = self._update(step)
        decay = min(self.settings.ema_decay, (1 + step) / (EMA_RAMP + step))
        update_average(self.average, self.encoder, decay=decay)
        if step % LOG_STEPS == 0:
            measured |= terms
        done = step + 1
        if done % self.settings.validate_steps == 0 or done == self.settings.num_steps:
            measured |= self._validated()
        return measured

    def state(self) -> TrainingState:
        """Encoder, average, best one, moments, and how the validations went."""
        tensors = {
            **with_prefix("encoder", self.encoder.state_dict()),
            **with_prefix("average", self.average.state_dict()),
            **with_prefix("best", self._best.state_dict()),
            **with_prefix("adam", adam_tensors(self._optimizer, self.encoder)),
        }
        record = {
            "start_error": self.start_error,
            "best_error": self.best_error,
            "waited": self._waited,
        }
        return TrainingState(tensors, record)

    def restore(self, state: TrainingState) -> None:
        """Put back what `state` gave."""
        for name, module in (
            ("encoder", self.encoder),
            ("average", self.average),
            ("best", self._best),
        ):
            module.load_state_dict(without_prefix(name, state.tensors))
        restore_adam(self._optimizer, self.encoder, without_prefix("adam", state.tensors))
        self.start_error = state.record["start_error"]
        self.best_error = state.record["best_error"]
        self._waited = state.record["waited"]

    # ---

    def _update(self, step: int) -> dict[str, float]:
        """One step of Adam; the loss and its parts, of the last pass and before the update."""
        images, ws = self.batches(step)
        parameters = list(self.encoder.parameters())
        total = [torch.zeros_like(parameter) for parameter in parameters]
        self.encoder.train()
        for found in passes(self.encoder, self.synthesis, images):
            loss, terms = self._loss(found, images, ws, rendered=step >= self.settings.ws_steps)
            if not math.isfinite(terms["loss"]):
                raise DivergedError(f"the loss is {terms['loss']} at step {step}")
            # asking for these gradients only keeps autograd off the frozen networks' weights
            for kept, gradient in zip(total, torch.autograd.grad(loss, parameters), strict=True):
                kept += gradient
        self.encoder.eval()
        for parameter, gradient in zip(parameters, total, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return terms

    def _loss(
        self, found: Tensor, images: Tensor, ws: Tensor, *, rendered: bool
    ) -> tuple[Tensor, dict[str, float]]:
        """The weighted loss of found ws, and its parts by name; not `rendered`: of ws alone."""
        settings = self.settings
        loss = found.new_zeros(())
        terms: dict[str, float] = {}
        if len(ws):
            ws_mse = (found[: len(ws)] - ws).square().mean()
            loss, terms["ws_mse"] = loss + settings.ws_weight * ws_mse, ws_mse.item()
        elif not rendered:
            raise EngineSettingsError("ws_steps: expected 0 for batches without ws")
        if rendered:
            output01, target01 = (self.synthesis(found) + 1) / 2, (images + 1) / 2
            mse = (output01 - target01).square().mean()
            loss, terms["mse"] = loss + settings.mse_weight * mse, mse.item()
            if self.perceptual is not None and settings.perceptual_weight:
                distance = self.perceptual(output01, target01).mean()
                loss = loss + settings.perceptual_weight * distance
                terms["perceptual"] = distance.item()
        return loss, {"loss": loss.item(), **terms}

    def _validated(self) -> dict[str, Any]:
        """Measure the average, and keep it if it is the best one so far."""
        if self.validate is None:
            return {}
        validation = self.validate(self.average)
        error, first = validation.error, self.start_error
        if not math.isfinite(error) or (first is not None and error > MOST_RISE * first):
            beside = "" if first is None else f", {first:.4g} at the start"
            raise DivergedError(f"the error of a validation is {error:.4g}{beside}")
        if first is None:
            self.start_error = error
        if self.best_error is None or validation.error < self.best_error * (1 - LEAST_GAIN):
            self.best_error, self._waited = validation.error, 0
            self._best.load_state_dict(self.average.state_dict())
        else:
            self._waited += 1
        return {"validation": validation.error, **validation.metrics}


def sample_batch(
    generator: Generator, count: int, *, seed: int, step: int, stream: int = 0
) -> EncoderBatch:
    """Samples of a generator with their ws: the same for the same numbers.

    Args:
        generator: Frozen.
        count: How many.
        seed: Of the training.
        step: Whose samples.
        stream: Another number gives other samples of the same step.
    """
    device = generator.w_avg.device
    chance = step_generator(seed, step, stream=stream, device=device)
    with torch.no_grad():
        z = torch.randn(count, generator.config.z_dim, generator=chance, device=device)
        ws = generator.mapping(z)
        # values beyond white and black are what no photograph has
        return EncoderBatch(generator.synthesis(ws).clamp(-1, 1), ws)


def joined(batches: Sequence[EncoderBatch]) -> EncoderBatch:
    """Several batches as one; those with ws come first.

    Raises:
        SettingsError: One without all of its ws comes before one with some.
    """
    for batch, after in itertools.pairwise(batches):
        if len(batch.ws) < len(batch.images) and len(after.ws):
            raise EngineSettingsError("batches: expected those with ws first")
    return EncoderBatch(
        torch.cat([batch.images for batch in batches]), torch.cat([batch.ws for batch in batches])
    )


def _cosine(progress: float) -> float:
    """1 at the start, 0 at the end."""
    return 0.5 * (1 + math.cos(math.pi * progress))
