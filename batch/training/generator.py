"""Train the generator of a class on photographs, and store it as a version of the class."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from editvec.batch.classes.importing import PLACEHOLDER
from editvec.batch.classes.shipped import trunk_folder
from editvec.batch.classes.storing import are_equal, store_class, training_folder
from editvec.batch.classes.succession import heritage_of
from editvec.batch.errors import SettingsError
from editvec.batch.quality.photographs import Photographs, load_photographs
from editvec.batch.quality.samples import SampleQuality, read_curve
from editvec.batch.training.divergence import Dial, advice_of, refusal
from editvec.batch.training.requests import GeneratorRequest
from editvec.batch.workbench import default_device
from editvec.engine.bundle.bundle import NetworkState, load_bundle, read_networks
from editvec.engine.devices import require_device
from editvec.engine.errors import DivergedError
from editvec.engine.metrics.distribution import FeatureNetwork, inception_features, trunk_features
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.training.generator import MIN_PHOTOGRAPHS, GeneratorTrainee
from editvec.engine.training.loop import (
    OnProgress,
    memory_errors,
    release_folder,
    run_training,
)
from editvec.engine.training.settings import GeneratorTraining
from editvec.registry.library.succession import former_version, succession_notes
from editvec.settings import check_settings

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library

SAMPLES_FOLDER = "samples"
FEW_IMAGES = 1000  # so few may leave a generator as it was, whatever the settings


class TrainedGenerator(NamedTuple):
    """What came of it.

    Attributes:
        model: The class version that was stored.
        folder: Of the training: state, log, samples.
        images: Images that it was trained on.
        photographs: How many there were.
        skipped: Files that could not be used, with the reason.
        measured: The measurement of what was stored, the best of all; see
            `SampleQuality.measure`.
        notes: What a user should know, in sentences.
    """

    model: ClassModel
    folder: Path
    images: int
    photographs: int
    skipped: list[tuple[str, str]]
    measured: dict[str, Any]
    notes: list[str]


def train_generator(
    library: Library,
    request: GeneratorRequest,
    *,
    work: Path | None = None,
    device: str | None = None,
    on_read: Callable[[int, int], None] | None = None,
    on_photographs: Callable[[Photographs], None] | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedGenerator:
    """Train, going on where an earlier call was killed, and store the best averaged generator.

    Args:
        library: Where the class goes.
        request: What to train.
        work: Folder of the training; None takes one in the home folder.
        device: Where, as torch names it; None takes a CUDA device if there is one.
        on_read: Called with the photographs read and those of the folder.
        on_photographs: Told what the folder holds before the training begins.
        on_progress: Called after every step.

    Raises:
        BatchError: The photographs are too few or cannot be read, or a setting is out of range.
        EngineError: There is no such device; the training was begun with other settings, does not
            fit the memory, or ends no better than it began, because it diverged or for another
            reason; nothing is stored then.
        RegistryError: `start` is no class, or the library cannot take the result.
    """
    folder = training_folder(library.config, request.class_name, "generator", work)
    device = device or default_device()
    require_device(device)
    start = None if request.start is None else library.get_class(request.start)
    weights, network = _beginning(library, request, start)
    training = _training(request, network.resolution, device)
    photographs = load_photographs(
        request.photographs, folder, resolution=network.resolution, fit=request.fit, on_read=on_read
    )
    if on_photographs is not None:
        on_photographs(photographs)
    if len(photographs.names) < MIN_PHOTOGRAPHS:
        raise SettingsError(
            f"photographs: expected at least {MIN_PHOTOGRAPHS} that can be read, "
            f"{request.photographs} holds {len(photographs.names)}"
        )
    advice = (
        f"lower --batch-size ({training.batch_size} now), --channel-base ({network.channel_base}) "
        f"or --channel-max ({network.channel_max})"
    )
    with memory_errors(advice):
        features = feature_network(library, request.features, device=device)
        quality = SampleQuality(
            features,
            photographs.pixels,
            folder=folder / SAMPLES_FOLDER,
            count=request.measured,
            seed=request.seed,
            fid=request.fid,
            device=device,
        )
        trainee = GeneratorTrainee(
            network,
            photographs.pixels,
            settings=training,
            seed=request.seed,
            device=device,
            start=weights,
            snapshot=quality.measure,
            snapshot_steps=max(1, round(request.snapshot_images / training.batch_size)),
        )
    settings = {
        "photographs": photographs.digest,
        "fit": request.fit,
        "seed": request.seed,
        "from": start and start.generator_digest,
        "features": request.features,
        "measured": request.measured,
        "snapshot_images": request.snapshot_images,
        **network.to_json(),
        **training.to_json(),
    }
    reason = None
    try:
        run_training(
            trainee,
            folder,
            num_steps=math.ceil(request.images / training.batch_size),
            settings=settings,
            memory_advice=advice,
            save_seconds=request.save_seconds,
            on_progress=on_progress,
        )
        with memory_errors(advice):
            measured = _last_measurement(trainee, folder)
    except DivergedError as exc:
        reason = str(exc)
        measured = _last_measurement(trainee, folder) if trainee.best is not None else {}
    notes = _require_best(trainee, request, folder, reason)
    return _store(
        library, request, trainee, photographs, settings, folder, measured=measured, notes=notes
    )


# ----------------------------------------------------------------------------------------------


def _beginning(
    library: Library, request: GeneratorRequest, start: ClassModel | None
) -> tuple[dict[str, Tensor] | None, GeneratorConfig]:
    """Weights to train on from, or None, and the generator's architecture."""
    if start is None:
        if request.resolution is None:
            raise SettingsError("resolution: expected one, or a class to train on from")
        network = GeneratorConfig(request.resolution, **request.network)
        check_settings(network, SettingsError)
        return None, network
    if request.network or request.resolution not in (None, start.resolution):
        raise SettingsError(
            f"from: the generator of {start.address} keeps its own size ({start.resolution} "
            "pixels); expected no other resolution, channels or mapping"
        )
    generator = load_bundle(library.materialise_bundle(start)).generator
    return dict(generator.state_dict()), generator.config


def _training(request: GeneratorRequest, resolution: int, device: str) -> GeneratorTraining:
    """The settings, with a precision that another device keeps when it goes on."""
    training = GeneratorTraining.for_resolution(resolution, **request.training)
    if training.precision != "auto":
        return training
    return dataclasses.replace(
        training, precision="bfloat16" if device.startswith("cuda") else "float32"
    )


def feature_network(library: Library, name: str, *, device: str) -> FeatureNetwork:
    """The network of this name; see `GeneratorRequest.features`."""
    if name == "inception":
        return inception_features(device=device)
    bundle = trunk_folder() if name == "trunk" else None
    if bundle is None:
        bundle = library.materialise_bundle(library.get_class(name))
    perceptual = load_bundle(bundle, device=device).perceptual
    if perceptual is None:
        raise SettingsError(f"features: expected a class with a perceptual trunk, {name} has none")
    return trunk_features(perceptual)


def _last_measurement(trainee: GeneratorTrainee, folder: Path) -> dict[str, Any]:
    """What the best average measured; where none was measured yet, that of now is."""
    found: dict[str, Any] = {}
    if trainee.best is None and trainee.images:
        found = trainee.measure()
    for entry in read_curve(folder):
        if trainee.best is not None and entry["images"] == trainee.best.images:
            found = entry
    names = ("images", "kid", "fid", "network", "measured")
    return {name: found[name] for name in names if name in found}


def _require_best(
    trainee: GeneratorTrainee, request: GeneratorRequest, folder: Path, reason: str | None
) -> list[str]:
    """Check that the training has come to something.

    Args:
        trainee: As it ended.
        request: What was asked for.
        folder: Of the training.
        reason: Why it has diverged; None if it has not.

    Returns:
        What to say where it has diverged after its best, or was too short to get better.

    Raises:
        DivergedError: It has come to nothing; the folder takes other settings then.
    """
    now, best = trainee.settings, trainee.best
    usual = GeneratorTraining.for_resolution(trainee.generator.config.resolution)
    gamma = GeneratorTraining.for_resolution(
        trainee.generator.config.resolution, batch_size=now.batch_size
    ).r1_gamma
    dials = [
        Dial("--learning-rate", now.learning_rate, usual.learning_rate, "lower"),
        Dial("--gamma", now.r1_gamma, gamma / 10, "raise"),
        Dial("--batch-size", now.batch_size, usual.batch_size, "raise"),
        Dial("--kimg", request.images / 1000, FEW_IMAGES / 1000, "raise"),
    ]
    if now.r1_gamma > 10 * gamma:
        dials[1] = Dial("--gamma", now.r1_gamma, gamma, "lower")
    begun = math.inf if trainee.start_kid is None else trainee.start_kid
    if best is None or best.kid >= begun:
        release_folder(folder)
        found = "" if best is None else f"; KID {best.kid:.4g}, {begun:.4g} before"
        worse = (
            f"its samples are no better than before the first step, after {trainee.images} images"
            f"{found}"
        )
        is_short = trainee.images < FEW_IMAGES and not any(dial.is_off for dial in dials[:2])
        if best is None or reason is not None or not is_short:
            raise refusal(f"generator of {request.class_name}", reason or worse, dials)
        return [f"{worse}; so few images cannot tell: {dials[-1]}"]
    if reason is None:
        return []
    return [
        f"{reason}: the training has diverged; what is stored is the best before that, of "
        f"{best.images} images: {advice_of(dials)}"
    ]


def _store(
    library: Library,
    request: GeneratorRequest,
    trainee: GeneratorTrainee,
    photographs: Photographs,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    measured: dict[str, Any],
    notes: list[str],
) -> TrainedGenerator:
    """The averaged generator that measured best, as a version of the class."""
    assert trainee.best is not None
    network = NetworkState(trainee.average.config, trainee.best.state)
    former = former_version(library, request.class_name)
    scheme: dict[str, Any] = {"labels": (PLACEHOLDER,)}
    networks = {"generator": network}
    kept: dict[str, Any] = {}
    license_name = request.license_name
    if former is not None:
        held = read_networks(library.materialise_bundle(former))[1]
        if are_equal(held["generator"], network):
            # the same training as before; what came to the class meanwhile stays
            return _trained(former, folder, trainee, photographs, measured, notes)
        heritage = heritage_of(library, former, resolution=trainee.average.config.resolution)
        scheme, kept = heritage.scheme, heritage.built
        networks |= heritage.networks
        license_name = license_name or heritage.license
    model = store_class(
        library,
        folder,
        class_name=request.class_name,
        description=request.description
        or f"Generator trained on {len(photographs.names)} photographs.",
        license_name=license_name,
        networks=networks,
        **scheme,
        built={
            **kept,
            "command": "editvec train generator",
            "images": trainee.best.images,
            "photographs": len(photographs.names),
            "settings": {**settings, "photographs": photographs.digest},
            "measured": measured,
        },
    )
    notes = [*notes, *succession_notes(library, former, model)]
    return _trained(model, folder, trainee, photographs, measured, notes)


def _trained(
    model: ClassModel,
    folder: Path,
    trainee: GeneratorTrainee,
    photographs: Photographs,
    measured: dict[str, Any],
    notes: list[str],
) -> TrainedGenerator:
    return TrainedGenerator(
        model,
        folder,
        trainee.images,
        len(photographs.names),
        photographs.skipped,
        measured,
        notes,
    )
