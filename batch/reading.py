"""Reads one input: checks it against the plan, takes its digest, decodes and fits it."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batch.errors import MaskPairingError, PlanError
from batch.naming import display_path
from batch.plan import PlannedInput, RunPlan
from batch.settings import Fit
from engine.errors import ImageError
from engine.images import crop_box, fit_pixels, read_image, resize_mask
from registry.entities import Label
from registry.errors import MaskError
from registry.masks import check_labels, check_size, read_mask


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An input in memory, or the reason why it is not.

    Attributes:
        input: what was planned.
        digest: of the file; None if it could not be read.
        pixels: uint8 [H, W, 3] at the generator's resolution; None for seeds and failures.
        wanted_mask: int [H, W], of mode optimize.
        reason: why it failed, in one line.
    """

    input: PlannedInput
    digest: str | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    wanted_mask: npt.NDArray[np.integer[Any]] | None = None
    reason: str | None = None


def decode(
    plan: RunPlan, planned: PlannedInput, *, resolution: int, labels: tuple[Label, ...]
) -> Decoded:
    """Reads, checks and fits one input; trouble with it becomes its reason, never an exception."""
    if planned.seed is not None:
        return Decoded(input=planned, digest=sample_digest(plan, planned))
    assert plan.input_folder is not None
    path = plan.input_folder / os.fsdecode(planned.relative_path)
    try:
        digest = _checked_digest(path, planned)
        picture = read_image(path)
        pixels = fit_pixels(picture, resolution, fit=plan.settings.fit.value)
        size = (picture.shape[0], picture.shape[1])
        mask = _wanted_mask(plan, planned, size, resolution=resolution, labels=labels)
    except (ImageError, PlanError, MaskPairingError) as exc:
        return Decoded(input=planned, reason=str(exc))
    except OSError as exc:
        return Decoded(input=planned, reason=f"cannot be read: {exc.strerror or exc}")
    return Decoded(input=planned, digest=digest, pixels=pixels, wanted_mask=mask)


def sample_digest(plan: RunPlan, planned: PlannedInput) -> str:
    """What stands for the digest of a sampled input."""
    psi = plan.settings.truncation_psi
    text = f"seed {planned.seed} sample {planned.position} truncation_psi {psi!r}"
    return hashlib.sha256(text.encode()).hexdigest()


def _checked_digest(path: Path, planned: PlannedInput) -> str:
    """The digest of a file that is still what was planned."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise PlanError("changed since the run was planned: it is no regular file any more")
    if planned.size is not None and status.st_size != planned.size:
        raise PlanError(
            f"changed since the run was planned: {planned.size} bytes then, {status.st_size} now"
        )
    if planned.mtime_ns is not None and status.st_mtime_ns != planned.mtime_ns:
        raise PlanError("changed since the run was planned: it was written again")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wanted_mask(
    plan: RunPlan,
    planned: PlannedInput,
    size: tuple[int, int],
    *,
    resolution: int,
    labels: tuple[Label, ...],
) -> npt.NDArray[np.integer[Any]] | None:
    """The edited mask of an input, of the picture's own size or of the generator's."""
    if plan.settings.masks_folder is None:
        return None
    path = _mask_path(Path(plan.settings.masks_folder), planned)
    try:
        mask = read_mask(path)
        check_labels(mask, labels, of="mask")
        if mask.shape == (resolution, resolution):
            return mask
        check_size(mask, *size, of="mask")
    except MaskError as exc:
        raise MaskPairingError(str(exc)) from exc
    if plan.settings.fit is Fit.PAD:
        raise MaskPairingError(
            f"mask: with --fit pad expected {resolution} x {resolution} pixels, "
            f"got {mask.shape[1]} x {mask.shape[0]}"
        )
    if plan.settings.fit is Fit.CROP:
        top, left, bottom, right = crop_box(*size)
        mask = mask[top:bottom, left:right]
    return resize_mask(mask, resolution)


def _mask_path(folder: Path, planned: PlannedInput) -> Path:
    """Where an input's mask is: ``a.jpg.png`` or ``a.png`` for ``a.jpg``."""
    relative = Path(os.fsdecode(planned.relative_path))
    candidates = (relative.with_name(relative.name + ".png"), relative.with_suffix(".png"))
    for candidate in candidates:
        if (folder / candidate).exists():
            return folder / candidate
    name = display_path(os.fsencode(candidates[-1]))
    raise MaskPairingError(f"no mask: expected {name} in the mask folder")
