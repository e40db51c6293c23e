"""Reads one input: checks it against the plan, takes its digest, decodes and fits it."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from editvec.batch.editing.pixel_budget import PixelBudget
from editvec.batch.errors import MaskPairingError, PlanError
from editvec.batch.naming import display_path
from editvec.batch.recipes.boxes import Box
from editvec.batch.recipes.recipe import EditPlan
from editvec.batch.runs.plan import PlannedInput
from editvec.engine.errors import ImageError
from editvec.engine.images.decoding import SourcePicture
from editvec.engine.images.images import Fit, read_size, read_source
from editvec.engine.images.own_colors import OwnColors, check_way_back, read_own_colors
from editvec.engine.images.views import View, see, see_labels, square_around, view_of, with_margin
from editvec.registry.errors import MaskError
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.masks.png import check_counted, check_size
from editvec.registry.masks.sources import read_any_mask


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An input in memory, or the reason why it is not.

    Attributes:
        input: what was planned.
        digest: of the file; None if it could not be read.
        pixels: uint8 [H, W, 3] at the generator's resolution; None for seeds and failures.
        wanted_mask: int [H, W], of mode optimize; `IGNORED` where nothing is wanted.
        reason: why it failed, in one line.
        source_size: height and width of the upright picture.
        color: what its colours were, and what was done with them.
        profile: that the outputs carry, in runs that keep it; None for none.
        view: the part of it that `pixels` show.
        picture_mask_digest: of a wanted mask of the picture's own size.
    """

    input: PlannedInput
    digest: str | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    wanted_mask: npt.NDArray[np.integer[Any]] | None = None
    reason: str | None = None
    source_size: tuple[int, int] | None = None
    color: str | None = None
    profile: bytes | None = None
    view: View | None = None
    picture_mask_digest: str | None = None


class _WantedMask(NamedTuple):
    """A wanted mask as the generator sees it, and the digest of one of the picture's own size."""

    mask: npt.NDArray[np.integer[Any]]
    picture_digest: str | None = None


def decode(
    plan: EditPlan,
    planned: PlannedInput,
    *,
    resolution: int,
    scheme: LabelScheme,
    budget: PixelBudget | None = None,
) -> Decoded:
    """Reads, checks and fits one input; trouble with it becomes its reason, never an exception.

    Args:
        plan: of the run.
        planned: the input.
        resolution: of the generator, in pixels.
        scheme: the parts, and how mask files spell them.
        budget: shared with others who hold photographs; None where nobody else does.
    """
    if planned.seed is not None:
        return Decoded(input=planned, digest=sample_digest(plan, planned))
    try:
        with _held(plan, planned, budget):
            return _decode(plan, planned, resolution=resolution, scheme=scheme)
    except (ImageError, PlanError, MaskPairingError) as exc:
        return Decoded(input=planned, reason=str(exc))
    except OSError as exc:
        return Decoded(input=planned, reason=f"cannot be read: {exc.strerror or exc}")


def _held(
    plan: EditPlan, planned: PlannedInput, budget: PixelBudget | None
) -> AbstractContextManager[None]:
    """Room for a picture, by the size that its header tells."""
    if budget is None:
        return nullcontext()
    height, width = read_size(_path_of(plan, planned))
    return budget.hold(height * width)


def _decode(
    plan: EditPlan, planned: PlannedInput, *, resolution: int, scheme: LabelScheme
) -> Decoded:
    digest, (picture, color) = read_picture(plan, planned)
    size = (picture.shape[0], picture.shape[1])
    settings = plan.settings
    if settings.keep_profile:
        check_way_back(color)
    view = seen_part(
        size,
        resolution,
        fit=settings.fit.value,
        box=planned.box,
        box_margin=settings.box_margin,
    )
    pixels = see(picture, view, resolution)
    wanted = _wanted_mask(plan, planned, size, view, resolution=resolution, scheme=scheme)
    return Decoded(
        input=planned,
        digest=digest,
        pixels=pixels,
        wanted_mask=None if wanted is None else wanted.mask,
        source_size=size,
        color=color.name if settings.keep_profile else color.conversion,
        profile=color.kept if settings.keep_profile else None,
        view=view,
        picture_mask_digest=None if wanted is None else wanted.picture_digest,
    )


def read_picture(plan: EditPlan, planned: PlannedInput) -> tuple[str, SourcePicture]:
    """The digest of a file that is still what was planned, and its upright picture in sRGB.

    Raises:
        PlanError: the file changed.
        ImageError: it is no picture.
        OSError: it cannot be read.
    """
    path = _path_of(plan, planned)
    return checked_digest(path, planned), read_source(path)


def read_kept(plan: EditPlan, planned: PlannedInput) -> OwnColors:
    """The samples of an input as its file has them; errors are those of `read_picture`."""
    return read_own_colors(_path_of(plan, planned))


def _path_of(plan: EditPlan, planned: PlannedInput) -> Path:
    assert plan.input_folder is not None
    return plan.input_folder / os.fsdecode(planned.relative_path)


def read_wanted_mask(
    plan: EditPlan, planned: PlannedInput, scheme: LabelScheme
) -> npt.NDArray[np.integer[Any]]:
    """The edited mask of an input as it is in its file, [H, W].

    Raises:
        MaskPairingError: there is none, or it is no mask of this scheme.
    """
    assert plan.settings.masks_folder is not None
    path = _mask_path(Path(plan.settings.masks_folder), planned)
    try:
        return read_any_mask(path, scheme)
    except MaskError as exc:
        raise MaskPairingError(str(exc)) from exc


def seen_part(
    size: tuple[int, int], resolution: int, *, fit: Fit, box: Box | None, box_margin: float
) -> View:
    """What the generator sees of a picture: all of it, or what is around the box.

    Args:
        size: height and width of the upright picture.
        resolution: of the generator.
        fit: how it meets the generator's square.
        box: None for the whole picture.
        box_margin: what is seen around the box, as a share of it.

    Raises:
        PlanError: the box lies outside the picture, is too small, or of a picture of another size.
    """
    if box is None:
        return view_of(*size, resolution, fit=fit)
    box.check_picture(*size)
    margin = square_around if fit == "crop" else with_margin
    around = margin(box.inside(*size), *size, margin=box_margin)
    return view_of(*size, resolution, fit=fit, box=around)


def sample_digest(plan: EditPlan, planned: PlannedInput) -> str:
    """What stands for the digest of a sampled input."""
    psi = plan.settings.truncation_psi
    text = f"seed {planned.seed} sample {planned.position} truncation_psi {psi!r}"
    return hashlib.sha256(text.encode()).hexdigest()


def checked_digest(path: Path, planned: PlannedInput) -> str:
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
    plan: EditPlan,
    planned: PlannedInput,
    size: tuple[int, int],
    view: View,
    *,
    resolution: int,
    scheme: LabelScheme,
) -> _WantedMask | None:
    """The edited mask of an input, of the picture's own size or of the generator's."""
    if plan.settings.masks_folder is None:
        return None
    mask = read_wanted_mask(plan, planned, scheme)
    if mask.shape == (resolution, resolution) != size:
        return _WantedMask(mask)
    top, left, bottom, right = view.inner
    try:
        check_size(mask, *size, of="mask")
        labels = see_labels(mask, view, resolution)
        check_counted(labels[top:bottom, left:right], of="mask, as the generator sees it")
    except MaskError as exc:
        raise MaskPairingError(str(exc)) from exc
    digest = hashlib.sha256(np.ascontiguousarray(mask).tobytes()).hexdigest()
    return _WantedMask(labels, digest)


def _mask_path(folder: Path, planned: PlannedInput) -> Path:
    """Where an input's mask is: ``a.jpg.png`` or ``a.png`` for ``a.jpg``, ``a~box1.png`` first."""
    relative = Path(os.fsdecode(planned.relative_path))
    candidates = [relative.with_name(relative.name + ".png"), relative.with_suffix(".png")]
    if planned.box is not None:
        candidates.insert(0, Path(planned.output_name + ".png"))
    for candidate in candidates:
        if (folder / candidate).exists():
            return folder / candidate
    name = display_path(os.fsencode(candidates[-1]))
    raise MaskPairingError(f"no mask: expected {name} in the mask folder")
