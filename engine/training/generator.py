"""Training of the generator against a discriminator: StyleGAN2 with adaptive augmentation.

Facts are those of Karras et al. 2020 ("Analyzing and improving the image quality of StyleGAN" and
"Training GANs with limited data"): lazy regularisation, style mixing, equalised learning rates,
averaged weights, settings by resolution.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from editvec.engine.errors import DivergedError, EngineSettingsError
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Generator
from editvec.engine.training.adversarial import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    r1_penalty,
)
from editvec.engine.training.augmentation import AugmentationControl, augment
from editvec.engine.training.chance import epoch_indices, step_generator
from editvec.engine.training.checkpoints import (
    adam_tensors,
    restore_adam,
    with_prefix,
    without_prefix,
)
from editvec.engine.training.discriminator import Discriminator, DiscriminatorConfig
from editvec.engine.training.loop import TrainingState, update_average
from editvec.engine.training.settings import GeneratorTraining

BETAS = (0.0, 0.99)
W_AVERAGE_DECAY = 0.995
ADJUST_STEPS = 4  # of the augmentation; also how often losses are logged
EMA_RAMP = 0.05
GRID_STREAM = 2  # of random numbers, for the latents of sample grids
MIN_PHOTOGRAPHS = 16
# Losses are of logits, in nats: 0.7 is a guess, and beyond 20 hardly any training comes back.
MOST_LOSS = 1000.0
MOST_RISE = 1e6  # of KID, over what it was at the start: its features are ten times as large


Snapshot = Callable[[Generator, int], Mapping[str, Any]]
"""Called with the averaged generator and the number of images it was trained on; what it returns
is logged. Its `kid`, if there is one, tells which average is the best."""


class BestAverage(NamedTuple):
    """The averaged weights that measured best.

    Attributes:
        images: Images that they were trained on.
        kid: What they measured; lower is better.
        state: The generator's state dict.
    """

    images: int
    kid: float
    state: Mapping[str, Tensor]


class GeneratorTrainee:
    """Generator, its average, discriminator and their optimisers; see `engine/training/loop.py`.

    Attributes:
        generator: In training.
        average: Its moving average, in eval mode.
        best: The average that measured best so far: adversarial training comes and goes. None
            before the first measurement; what was there before the first step does not count.
        start_kid: What the average measured before the first step; None if nothing did.
        discriminator: In training.
        control: Strength of the augmentation.
        images: Photographs that were shown so far, counted with repetition.
    """

    def __init__(
        self,
        config: GeneratorConfig,
        photographs: npt.NDArray[np.uint8],
        *,
        settings: GeneratorTraining,
        seed: int,
        device: torch.device | str = "cpu",
        start: Mapping[str, Tensor] | None = None,
        snapshot: Snapshot | None = None,
        snapshot_steps: int = 1000,
    ) -> None:
        """Build the networks from the seed.

        Args:
            config: Of the generator; the discriminator has as many channels.
            photographs: uint8 [N, H, W, 3] at the generator's resolution.
            settings: How to train.
            seed: Of weights, order, latents, everything.
            device: Where.
            start: Weights of a generator to train on from; None begins anew.
            snapshot: Measures the average every `snapshot_steps` and before the first step.
            snapshot_steps: Steps between two of them.

        Raises:
            SettingsError: The photographs are too few or of another size.
        """
        size = (config.resolution, config.resolution, 3)
        if photographs.shape[1:] != size or len(photographs) < MIN_PHOTOGRAPHS:
            raise EngineSettingsError(
                f"photographs: expected at least {MIN_PHOTOGRAPHS} of {list(size)}, got "
                f"{list(photographs.shape)}"
            )
        self.photographs = photographs
        self.settings = settings
        self.seed = seed
        self.device = torch.device(device)
        self.snapshot = snapshot
        self.snapshot_steps = snapshot_steps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.generator = Generator(config).to(self.device)
            self.discriminator = Discriminator(
                DiscriminatorConfig.beside(config, group_size=settings.group_size)
            ).to(self.device)
        if start is not None:
            self.generator.load_state_dict(start)
        self.generator.synthesis.to(memory_format=torch.channels_last)
        self.discriminator.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.control = AugmentationControl(
            target=settings.augment_target, images=settings.augment_images
        )
        self.path_length = torch.zeros([], device=self.device)
        self.images = 0
        self.best: BestAverage | None = None
        self.start_kid: float | None = None
        self._worst_loss = torch.zeros([], device=self.device)
        lazy_g = settings.path_length_interval if settings.path_length_weight else None
        self._generator_optimizer = _lazy_adam(self.generator, settings.learning_rate, lazy_g)
        lazy_d = settings.r1_interval if settings.r1_gamma else None
        self._discriminator_optimizer = _lazy_adam(
            self.discriminator, settings.learning_rate, lazy_d
        )

    # --- the loop's side ---

    def step(self, step: int) -> dict[str, Any]:
        """One update of both networks, with the penalties whose turn it is.

        Raises:
            DivergedError: A loss is not a number or far too large, or the average is far worse
                than at the start.
        """
        measured: dict[str, Any] = {}
        if step == 0 and self.snapshot is not None:
            measured |= self._measure(self.snapshot)
        chance = step_generator(self.seed, step, device=self.device)
        settings = self.settings
        generator_error = self._train_generator(chance)
        if settings.path_length_weight and step % settings.path_length_interval == 0:
            measured["path_length"] = self._regularise_generator(chance)
        real = self._photographs(step, chance)
        discriminator_error = self._train_discriminator(real, chance)
        for error in (generator_error, discriminator_error):
            self._worst_loss = torch.maximum(self._worst_loss, error)  # NaN stays
        if settings.r1_gamma and step % settings.r1_interval == 0:
            measured["r1"] = self._regularise_discriminator(real, chance)
        self.images += settings.batch_size
        self._update_average()
        if (step + 1) % ADJUST_STEPS == 0:
            measured |= self._adjust(step, generator_error, discriminator_error)
        if self.snapshot is not None and (step + 1) % self.snapshot_steps == 0:
            self._require_losses(step)
            measured |= self._measure(self.snapshot)
        return measured

    def measure(self) -> dict[str, Any]:
        """Measure the average as it is now, and keep it if it is the best so far."""
        assert self.snapshot is not None
        return self._measure(self.snapshot)

    def state(self) -> TrainingState:
        """Networks, average, moments, strength of the augmentation, average path length."""
        tensors = {
            **with_prefix("generator", self.generator.state_dict()),
            **with_prefix("average", self.average.state_dict()),
            **with_prefix("discriminator", self.discriminator.state_dict()),
            **with_prefix(
                "generator_adam", adam_tensors(self._generator_optimizer, self.generator)
            ),
            **with_prefix(
                "discriminator_adam",
                adam_tensors(self._discriminator_optimizer, self.discriminator),
            ),
            "path_length": self.path_length,
        }
        record = {
            "images": self.images,
            "augmentation": self.control.record(),
            "best": None,
            "start_kid": self.start_kid,
        }
        if self.best is not None:
            tensors |= with_prefix("best", self.best.state)
            record["best"] = {"images": self.best.images, "kid": self.best.kid}
        return TrainingState(tensors, record)

    def restore(self, state: TrainingState) -> None:
        """Put back what `state` gave."""
        tensors = state.tensors
        for name in ("generator", "average", "discriminator"):
            module: nn.Module = getattr(self, name)
            module.load_state_dict(without_prefix(name, tensors))
        restore_adam(
            self._generator_optimizer,
            self.generator,
            without_prefix("generator_adam", tensors),
        )
        restore_adam(
            self._discriminator_optimizer,
            self.discriminator,
            without_prefix("discriminator_adam", tensors),
        )
        self.path_length = tensors["path_length"].to(self.device, copy=True)
        self.images = state.record["images"]
        self.start_kid = state.record["start_kid"]
        best = state.record["best"]
        self.best = best and BestAverage(**best, state=without_prefix("best", tensors))
        self.control.restore(state.record["augmentation"])

    def _measure(self, snapshot: Snapshot) -> dict[str, Any]:
        """Measure the average, and keep it if it is the best so far."""
        measured = {"images": self.images, **snapshot(self.average, self.images)}
        kid: float | None = measured.get("kid")
        if kid is None:
            return measured
        if not math.isfinite(kid):
            raise DivergedError(f"KID is {kid} after {self.images} images")
        if not self.images:
            self.start_kid = kid
            return measured
        first = self.start_kid
        if first is not None and kid > MOST_RISE * max(first, 1.0):
            raise DivergedError(
                f"KID is {kid:.4g} after {self.images} images, {first:.4g} at the start"
            )
        if self.best is None or kid < self.best.kid:
            state = {k: v.detach().cpu().clone() for k, v in self.average.state_dict().items()}
            self.best = BestAverage(self.images, kid, state)
        return measured

    def _require_losses(self, step: int) -> None:
        """Check the losses since the last time."""
        worst = float(self._worst_loss)
        self._worst_loss = torch.zeros_like(self._worst_loss)
        if not worst <= MOST_LOSS:
            raise DivergedError(f"a loss is {worst:.4g} at step {step}")

    # --- one update each ---

    def _train_generator(self, chance: torch.Generator) -> Tensor:
        self.generator.requires_grad_(True)
        self.discriminator.requires_grad_(False)
        ws = self._ws(self.settings.batch_size, chance, track=True)
        with self._precision():
            images = self.generator.synthesis(ws, noise_mode="random", generator=chance)
        loss = generator_loss(self._judge(images.float(), chance))
        _update(self._generator_optimizer, self.generator, loss)
        return loss.detach()

    def _regularise_generator(self, chance: torch.Generator) -> float:
        """Path length on half a batch, in full precision; returns the mean length."""
        self.generator.requires_grad_(True)
        ws = self._ws(max(1, self.settings.batch_size // 2), chance, track=False)
        images = self.generator.synthesis(ws, noise_mode="random", generator=chance)
        penalty, self.path_length = path_length_penalty(
            images, ws, self.path_length, generator=chance
        )
        weight = self.settings.path_length_weight * self.settings.path_length_interval
        _update(self._generator_optimizer, self.generator, weight * penalty)
        return float(self.path_length)

    def _train_discriminator(self, real: Tensor, chance: torch.Generator) -> Tensor:
        self.generator.requires_grad_(False)
        self.discriminator.requires_grad_(True)
        with torch.no_grad():
            ws = self._ws(len(real), chance, track=False)
            with self._precision():
                fake = self.generator.synthesis(ws, noise_mode="random", generator=chance)
        fake_logits = self._judge(fake.float(), chance)
        real_logits = self._judge(real, chance)
        self.control.observe(real_logits)
        loss = discriminator_loss(fake_logits, real_logits)
        _update(self._discriminator_optimizer, self.discriminator, loss)
        return loss.detach()

    def _regularise_discriminator(self, real: Tensor, chance: torch.Generator) -> float:
        """R1 in full precision; returns the penalty before its weight."""
        self.discriminator.requires_grad_(True)
        real = real.detach().requires_grad_(True)
        seen = augment(real, self.control.p, generator=chance, kinds=self.settings.augment_kinds)
        penalty = r1_penalty(self.discriminator(seen), real)
        weight = self.settings.r1_gamma / 2 * self.settings.r1_interval
        _update(self._discriminator_optimizer, self.discriminator, weight * penalty)
        return float(penalty.detach())

    # --- parts of them ---

    def _ws(self, count: int, chance: torch.Generator, *, track: bool) -> Tensor:
        """Latents of new samples, with style mixing: [count, num_ws, w_dim].

        Args:
            count: Samples.
            chance: Source of all draws.
            track: Follow the average of W.
        """
        config = self.generator.config
        z = torch.randn(2 * count, config.z_dim, generator=chance, device=self.device)
        ws, other = self.generator.mapping(z).chunk(2)
        if track:
            with torch.no_grad():
                mean = ws[:, 0].detach().mean(dim=0)
                self.generator.mapping.w_avg.lerp_(mean, 1 - W_AVERAGE_DECAY)
        draw = torch.rand(2, count, generator=chance, device=self.device)
        first = 1 + (draw[0] * (config.num_ws - 1)).long()  # row from which the other one is taken
        first = torch.where(draw[1] < self.settings.style_mixing, first, config.num_ws)
        rows = torch.arange(config.num_ws, device=self.device)
        return torch.where((rows < first[:, None])[:, :, None], ws, other)

    def _photographs(self, step: int, chance: torch.Generator) -> Tensor:
        """The photographs of a step: [batch_size, 3, H, W] in [-1, 1]."""
        index = epoch_indices(
            len(self.photographs), size=self.settings.batch_size, seed=self.seed, step=step
        ).numpy()
        # in the order of the file, which is read by need
        order = np.argsort(index, kind="stable")
        pixels = torch.from_numpy(np.ascontiguousarray(self.photographs[index[order]]))
        images = pixels.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        if self.settings.mirror:
            draw = torch.rand(len(images), generator=chance, device=self.device)
            images = torch.where(draw[:, None, None, None] < 0.5, images.flip(3), images)
        return images

    def _judge(self, images: Tensor, chance: torch.Generator) -> Tensor:
        """Logits of what the discriminator is let see of the images."""
        seen = augment(images, self.control.p, generator=chance, kinds=self.settings.augment_kinds)
        with self._precision():
            logits: Tensor = self.discriminator(seen)
        return logits.float()

    def _update_average(self) -> None:
        """Move the averaged weights; they follow faster at the beginning."""
        half_life = min(self.settings.ema_images, self.images * EMA_RAMP)
        decay = 0.5 ** (self.settings.batch_size / max(half_life, 1e-8))
        update_average(self.average, self.generator, decay=decay)

    def _adjust(self, step: int, generator_error: Tensor, discriminator_error: Tensor) -> Any:
        """Adapt the augmentation; what is logged."""
        self._require_losses(step)
        errors = float(generator_error), float(discriminator_error)
        before = self.control.p
        sign = self.control.adjust()
        if self.settings.augment == "none":
            self.control.p = before
        return {
            "images": self.images,
            "generator_loss": errors[0],
            "discriminator_loss": errors[1],
            "real_sign": sign,
            "augment_p": self.control.p,
        }

    def _precision(self) -> torch.autocast:
        precision = self.settings.precision
        is_half = precision == "bfloat16" or (precision == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_half)


def grid_latents(count: int, z_dim: int, *, seed: int) -> Tensor:
    """The latents [count, z_dim] that every sample grid of a training shows, on the CPU."""
    generator = step_generator(seed, 0, stream=GRID_STREAM)
    return torch.randn(count, z_dim, generator=generator)


def _lazy_adam(module: nn.Module, learning_rate: float, interval: int | None) -> torch.optim.Adam:
    """Adam whose settings make up for one more update in every `interval` steps."""
    share = 1.0 if interval is None else interval / (interval + 1)
    betas = (BETAS[0] ** share, BETAS[1] ** share)
    return torch.optim.Adam(
        module.parameters(), lr=learning_rate * share, betas=betas, eps=1e-8, fused=True
    )


def _update(optimizer: torch.optim.Adam, module: nn.Module, loss: Tensor) -> None:
    parameters = [one for one in module.parameters() if one.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
