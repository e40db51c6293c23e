"""What an encoder learns from: samples, photographs, and how its reconstructions are measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editvec.batch.classes.importing import shipped_perceptual
from editvec.batch.errors import SettingsError
from editvec.batch.quality.likeness import Unlike, check_likeness, described, find_unlike
from editvec.batch.quality.photographs import Photographs
from editvec.batch.quality.reconstruction import (
    Errors,
    WayToEmbed,
    batches_of,
    compare_embeddings,
    encoding_errors,
    reconstructed_beside,
)
from editvec.batch.quality.samples import grid_of
from editvec.batch.training.divergence import Dial, advice_of, refusal
from editvec.batch.training.requests import EncoderRequest, Watcher
from editvec.engine.bundle.bundle import LoadedBundle
from editvec.engine.editing.losses import Networks
from editvec.engine.errors import DivergedError
from editvec.engine.images.images import Pixels, to_images, write_png
from editvec.engine.networks.config import EncoderConfig, PerceptualConfig
from editvec.engine.networks.encoder import Encoder
from editvec.engine.networks.perceptual import PerceptualDistance, build_perceptual, load_lpips
from editvec.engine.training.chance import epoch_indices
from editvec.engine.training.encoder import (
    EncoderBatch,
    EncoderTrainee,
    Validation,
    joined,
    sample_batch,
)
from editvec.engine.training.loop import memory_errors, release_folder, run_training
from editvec.engine.training.settings import EncoderTraining
from editvec.settings import default_of
from editvec.whole_files import write_whole

MIN_PHOTOGRAPHS = 4
HELD_OUT_STREAM = 3  # of random numbers, for the samples of validations
SHOWN = 8  # pictures in a row of a grid
WARMUP_FOLDER, JOINT_FOLDER = "warmup", "joint"
COMPARISON_FILE = "comparison.json"
GRID_FILE = "reconstructions.png"


class EncoderCourse:
    """The networks that an encoder learns from, and the two trainings that it goes through.

    Attributes:
        perceptual: What reconstructions are compared by.
        held_out_name: What the images of the last validations are: samples or photographs.
        is_lent: Whether the class has no perceptual network and gets the shipped one.
        is_better: Whether a training has made the encoder better than it began.
        notes: What a user should know of the trainings, in sentences.
    """

    def __init__(
        self,
        loaded: LoadedBundle,
        request: EncoderRequest,
        folder: Path,
        *,
        device: str,
        watcher: Watcher,
    ) -> None:
        self._loaded, self._request, self._folder = loaded, request, folder
        self._device, self._watcher = device, watcher
        self._generator = loaded.generator
        self.perceptual = perceptual_of(loaded, request).to(device)
        self.is_lent = loaded.perceptual is None
        self.config = self._architecture()
        self._samples = sample_batch(
            self._generator, request.held_out, seed=request.seed, step=0, stream=HELD_OUT_STREAM
        )
        self._held_out: Pixels | None = None
        self.held_out_name = "samples"
        self.is_better = False
        self.notes: list[str] = []

    def _architecture(self) -> EncoderConfig:
        request, own = self._request, self._loaded.encoder
        if not request.goes_on:
            return EncoderConfig.for_generator(
                self._generator.config, width=request.width, iterations=request.iterations
            )
        if own is None:
            raise SettingsError(
                f"continue: class {self._loaded.bundle.class_name} has no encoder to go on from"
            )
        return own.config

    # --- the two trainings ---

    def warm_up(self) -> Encoder:
        """Train on samples of the generator, whose ws are known."""
        request = self._request

        def batch(step: int) -> EncoderBatch:
            return sample_batch(self._generator, request.batch_size, seed=request.seed, step=step)

        own = self._loaded.encoder if request.goes_on else None
        return self._train(
            WARMUP_FOLDER, "samples", batch, steps=request.warmup_steps, start=own, data=None
        )

    def choose(self, photographs: Photographs, encoder: Encoder) -> tuple[list[int], list[Unlike]]:
        """Positions of the photographs to use, and those that do not look like the class.

        Raises:
            SettingsError: None does, or too few are left.
        """
        pixels = photographs.pixels
        samples = self._errors(encoder, self._samples.images)
        found = self._errors(encoder, pixels)
        places = find_unlike(found, samples)
        unlike = described(photographs.names, found, places)
        if self._request.keep_unlike:
            self._tell(unlike)
            return list(range(len(pixels))), unlike
        average = self._errors(None, pixels), self._errors(None, self._samples.images)
        name = self._loaded.bundle.class_name
        check_likeness(found, samples, average=average, class_name=name)
        self._tell(unlike)
        kept = sorted(set(range(len(pixels))) - set(places))
        if len(kept) < MIN_PHOTOGRAPHS:
            raise SettingsError(
                f"photographs: expected at least {MIN_PHOTOGRAPHS} that look like class {name}, "
                f"{len(kept)} do; --keep-unlike trains on the others, too"
            )
        return kept, unlike

    def join(self, photographs: Photographs, kept: Sequence[int], encoder: Encoder) -> Encoder:
        """Train on photographs and samples together, beginning with `encoder`."""
        request = self._request
        count = min(request.held_out, max(1, len(kept) // 10))
        # evenly spread over the files, which may be in some order
        held = {kept[at] for at in np.linspace(0, len(kept) - 1, count).round().astype(int)}
        taught = np.array([place for place in kept if place not in held])
        self._held_out = np.asarray(photographs.pixels[sorted(held)])
        self.held_out_name = "photographs"
        half = request.batch_size // 2

        def batch(step: int) -> EncoderBatch:
            known = sample_batch(
                self._generator, request.batch_size - half, seed=request.seed, step=step, stream=1
            )
            order = epoch_indices(len(taught), size=half, seed=request.seed, step=step)
            chosen = [photographs.pixels[place] for place in taught[order.numpy()]]
            images = to_images(chosen).to(self._device)
            return joined([known, EncoderBatch(images, known.ws[:0])])

        data = hashlib.sha256(f"{photographs.digest} {list(kept)}".encode()).hexdigest()
        steps = request.joint_steps
        return self._train(
            JOINT_FOLDER, "photographs", batch, steps=steps, start=encoder, data=data
        )

    def _train(
        self,
        part: str,
        what: str,
        batch: Callable[[int], EncoderBatch],
        *,
        steps: int,
        start: Encoder | None,
        data: str | None,
    ) -> Encoder:
        request = self._request
        own = dict(request.training)
        if data is not None:
            own["ws_steps"] = 0  # latents of photographs are not known
        elif own.get("ws_steps") is not None:
            own["ws_steps"] = min(own["ws_steps"], steps)
        training = EncoderTraining(steps, **own)
        if self._watcher.on_phase is not None:
            self._watcher.on_phase(what)
        trainee = EncoderTrainee(
            self.config,
            self._generator,
            batch,
            perceptual=self.perceptual,
            settings=training,
            seed=request.seed,
            start=None if start is None else start.state_dict(),
            validate=lambda encoder: self._validate(encoder, self._folder / part),
        )
        settings = {
            "generator": self._loaded.bundle.generator_digest,
            "photographs": data,
            "fit": request.fit,
            "batch": request.batch_size,
            "seed": request.seed,
            "held_out": request.held_out,
            "continue": request.goes_on,
            "perceptual": self.perceptual.name,
            **self.config.to_json(),
            **training.to_json(),
        }
        reason = ""
        try:
            run_training(
                trainee,
                self._folder / part,
                num_steps=steps,
                settings=settings,
                memory_advice=f"lower --batch-size ({request.batch_size} now) or --width",
                save_seconds=request.save_seconds,
                on_progress=self._watcher.on_progress,
                is_over=lambda: trainee.is_over,
            )
        except DivergedError as exc:
            reason = str(exc)
        self._judge(trainee, what, reason)
        return trainee.result

    def _judge(self, trainee: EncoderTrainee, what: str, reason: str) -> None:
        """Note what came of a training.

        Args:
            trainee: As it ended.
            what: What it was trained on.
            reason: Why it diverged; empty if it has not.

        Raises:
            DivergedError: There is no encoder that is of use.
        """
        if trainee.is_better:
            self.is_better = True
            kept = "the encoder of its best validation before that is kept"
        else:
            reason = reason or (
                f"no validation is better than the one before the first step, "
                f"{trainee.start_error:.4g}"
            )
            kept = "the encoder of before it is kept"
        if not reason:
            return
        if not self.is_better and not self._request.goes_on:
            raise self.refusal(f"on {what}, {reason}")
        self._release()
        self.notes.append(f"on {what}, {reason}; {kept}: {advice_of(self._dials())}")

    def require_better(self) -> None:
        """Check that the trainings have come to something.

        Raises:
            DivergedError: They have not: the encoder is the one that the class has.
        """
        if not self.is_better:
            raise self.refusal("no training has made it better than the one that the class has")

    def refusal(self, reason: str) -> DivergedError:
        """The error of a training of which nothing is stored; the folder takes other settings."""
        self._release()
        return refusal(f"encoder of {self._loaded.bundle.class_name}", reason, self._dials())

    def _release(self) -> None:
        for part in (WARMUP_FOLDER, JOINT_FOLDER):
            release_folder(self._folder / part)

    def _dials(self) -> list[Dial]:
        request = self._request
        usual = EncoderTraining(1)
        now = EncoderTraining(1, **{**request.training, "ws_steps": 0})
        batch = default_of(EncoderRequest, "batch_size")
        return [
            Dial("--learning-rate", now.learning_rate, usual.learning_rate, "lower"),
            Dial("--batch-size", request.batch_size, batch, "raise"),
            Dial("--steps", request.warmup_steps, 100, "raise"),
        ]

    # --- measures ---

    def measure(self, encoder: Encoder) -> dict[str, Any]:
        """PSNR and perceptual distance on held-out samples, and photographs where there are any."""
        measured: dict[str, Any] = {}
        for name, images in self._held_out_images().items():
            errors = self._errors(encoder, images)
            assert errors.perceptual is not None
            measured[f"{name}_psnr"] = round(float(errors.psnr.mean()), 4)
            measured[f"{name}_perceptual"] = round(float(errors.perceptual.mean()), 6)
            measured[f"{name}_count"] = len(errors.psnr)
        return measured

    def compare(self, encoder: Encoder) -> list[WayToEmbed]:
        """Ways to embed images that no training has seen; also written as JSON."""
        request = self._request
        if not request.compared:
            return []
        images = next(
            batches_of(self._held_out[: request.compared], self._device)
            if self._held_out is not None
            else iter([self._samples.images[: request.compared]])
        )
        networks = Networks(self._generator.synthesis, perceptual=self.perceptual, encoder=encoder)
        with memory_errors(f"lower --compared ({request.compared} now)"):
            rows = compare_embeddings(
                networks, images, w_avg=self._generator.w_avg, num_steps=request.compared_steps
            )
        text = json.dumps([row._asdict() for row in rows], indent=2) + "\n"
        write_whole(self._folder / COMPARISON_FILE, text.encode())
        return rows

    def _validate(self, encoder: Encoder, folder: Path) -> Validation:
        """The weighted error of reconstructions, and a grid of them on disk."""
        training = EncoderTraining(1, **{**self._request.training, "ws_steps": 0})
        measured = self.measure(encoder)
        psnr = measured[f"{self.held_out_name}_psnr"]
        if not (training.mse_weight or training.perceptual_weight):
            training = EncoderTraining(1)  # what only ws teach is judged by the usual weights
        error = training.mse_weight * 10 ** (-psnr / 10)
        error += training.perceptual_weight * measured[f"{self.held_out_name}_perceptual"]
        images = self._samples.images[:SHOWN]
        if self._held_out is not None:
            images = next(batches_of(self._held_out[:SHOWN], self._device))
        shown = reconstructed_beside(self._generator, encoder, images)
        folder.mkdir(parents=True, exist_ok=True)
        write_png(folder / GRID_FILE, grid_of(shown, columns=len(images)))
        return Validation(error, measured)

    def _held_out_images(self) -> dict[str, Any]:
        images: dict[str, Any] = {"samples": self._samples.images}
        return images if self._held_out is None else {**images, "photographs": self._held_out}

    def _errors(self, encoder: Encoder | None, images: Tensor | Pixels) -> Errors:
        batches = (
            iter(torch.split(images, self._request.batch_size))
            if isinstance(images, Tensor)
            else batches_of(images, self._device)
        )
        advice = f"lower --held-out ({self._request.held_out} now)"
        with memory_errors(advice):
            return encoding_errors(self._generator, encoder, batches, perceptual=self.perceptual)

    def _tell(self, unlike: list[Unlike]) -> None:
        if unlike and self._watcher.on_unlike is not None:
            self._watcher.on_unlike(unlike)


def perceptual_of(loaded: LoadedBundle, request: EncoderRequest) -> PerceptualDistance:
    """Published LPIPS where it is asked for, else the class's own trunk, else the shipped one."""
    if request.trunk is not None:
        return load_lpips(request.trunk, weights=request.trunk_weights)
    if loaded.perceptual is not None:
        return loaded.perceptual
    lent = shipped_perceptual().get("perceptual")
    if lent is None or not isinstance(lent.config, PerceptualConfig):
        raise SettingsError(
            f"perceptual: class {loaded.bundle.class_name} has no perceptual network; --trunk vgg "
            "takes the published one"
        )
    distance = build_perceptual(lent.config)
    distance.load_state_dict(dict(lent.state))
    return distance.eval().requires_grad_(False)
