"""How far vectors disturb each other: tables of what was measured of them together, and storing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from batch.evaluation.evaluate import EVALUATION_KEY
from batch.evaluation.intervals import bootstrap, bootstrap_ratio, wilson
from batch.evaluation.pair_settings import PairSettings, PinnedPart
from batch.evaluation.table import Missing
from batch.evaluation.targets import Attribute
from batch.evaluation.together import (
    AloneRows,
    FloatArray,
    MeasuredTogether,
    OnProgress,
    PairRows,
    Purpose,
    Rows,
    measure_together,
)
from batch.plan import canonical_json
from engine.editor import Editor
from registry.entities import EditingVector
from registry.release import engine_version
from registry.store import Library
from registry.together import Kept, Together, metrics_of_pair

LEAST_SHOWN = 0.005
NO_MASKS = "the class has no segmentation branch; `train segmentation` makes one"


class Moved(NamedTuple):
    """How far a part moves: 1 - IoU before and after, the mean over images that show it.

    Attributes:
        value: 0 for a part that stays as it is, 1 for one that is elsewhere.
        images: that show it before or after.
        interval: of 95 %; None of too few images.
    """

    value: float
    images: int
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class AloneEffect:
    """What one vector does alone.

    Attributes:
        part: the vector.
        purpose: what it is judged by, in words; empty for none.
        success: share of images or IoU that it reaches; None without a target.
        moved: of every part that occurs; empty without masks.
    """

    part: PinnedPart
    purpose: str
    success: Kept | None
    moved: Mapping[str, Moved]


@dataclass(frozen=True, kw_only=True)
class PairEffect:
    """What two vectors do together.

    Attributes:
        places: of both among the vectors.
        success: what is left of the success of each, beside the other.
        change: what is left of the change of each.
        overlap: Jaccard index of the pixels that each changes alone; None where none does.
        moved: of every part that occurs; empty without masks.
    """

    places: tuple[int, int]
    success: tuple[Kept | None, Kept | None]
    change: tuple[Kept | None, Kept | None]
    overlap: float | None
    moved: Mapping[str, Moved]


class Disentanglement(NamedTuple):
    """Vectors measured together.

    Attributes:
        settings: how.
        measured: image by image.
        alone: of each vector.
        pairs: of every two.
        missing: what could not be measured, with the reason.
    """

    settings: PairSettings
    measured: MeasuredTogether
    alone: list[AloneEffect]
    pairs: list[PairEffect]
    missing: list[Missing]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        addresses = [one.part.vector.address for one in self.alone]
        return {
            "probe_set": self.settings.images.probe_set(),
            "images": len(self.measured.names),
            "settings": self.settings.to_json(),
            "vectors": [_alone_json(one) for one in self.alone],
            "pairs": [_pair_json(one, addresses) for one in self.pairs],
            "missing": [one._asdict() for one in self.missing],
            "skipped": self.measured.skipped,
        }


def disentangle(
    library: Library,
    editor: Editor,
    parts: Sequence[PinnedPart],
    settings: PairSettings,
    *,
    on_progress: OnProgress | None = None,
) -> Disentanglement:
    """Measures vectors alone and every two of them together; stores nothing.

    Args:
        library: where they are.
        editor: the networks that they were made for.
        parts: the vectors.
        settings: on which images.
        on_progress: told how many images of how many are done.

    Raises:
        SettingsError, PlanError, RegistryError, EngineError: as `measure_together` does.
    """
    measured = measure_together(library, editor, parts, settings, on_progress=on_progress)
    names = [label.name for label in editor.bundle.labels]
    seed = settings.images.seed
    missing: dict[str, str] = {}
    if editor.segmentation is None:
        missing["moved, overlap, kept change"] = NO_MASKS
    alone = []
    for part, purpose, rows in zip(parts, measured.purposes, measured.alone, strict=True):
        success = _success(rows, purpose)
        if success is None:
            missing[f"success of {part.vector.address}"] = _why_no_success(rows, purpose)
        alone.append(
            AloneEffect(
                part=part,
                purpose=str(purpose),
                success=success,
                moved=_moved(rows.ious, names, seed=seed),
            )
        )
    pairs = [
        _pair_effect(places, rows, measured, names, seed=seed)
        for places, rows in measured.pairs.items()
    ]
    return Disentanglement(
        settings, measured, alone, pairs, [Missing(*one) for one in missing.items()]
    )


def shown_parts(found: Disentanglement) -> list[str]:
    """The parts that some vector moves, alone or beside another, in the order of the class."""
    effects = [*(one.moved for one in found.alone), *(one.moved for one in found.pairs)]
    known = dict.fromkeys(name for moved in effects for name in moved)
    return [
        name
        for name in known
        if any(moved[name].value >= LEAST_SHOWN for moved in effects if name in moved)
    ]


def store_disentanglement(
    library: Library, editor: Editor, found: Disentanglement
) -> list[EditingVector]:
    """Stores with each vector what was measured of it beside each other.

    Returns:
        The vectors that keep something, as they are stored now.

    Raises:
        RegistryError: the library cannot keep it.
    """
    images = found.settings.images
    settings = {
        EVALUATION_KEY: _key(editor, found),
        "seed": images.seed,
        "embed": None if images.is_sampled else images.embed,
    }
    stored = []
    for place, one in enumerate(found.alone):
        metrics = [
            metric
            for pair in found.pairs
            if place in pair.places
            for metric in metrics_of_pair(
                _together(found, pair, pair.places.index(place)),
                found.alone[_other(pair, place)].part.vector,
                settings,
            )
        ]
        if metrics:
            vector = library.add_metrics(
                one.part.vector.address, metrics, reason=f"disentangled on {images.probe_set()}"
            )
            stored.append(vector)
    return stored


def _key(editor: Editor, found: Disentanglement) -> str:
    """Digest of what decides the measurement."""
    parts = {
        "vectors": [(one.part.vector.delta_digest, one.part.scale) for one in found.alone],
        "bundle": editor.bundle.bundle_digest,
        "engine": engine_version(),
        "settings": found.settings.to_json(),
        "images": found.measured.names,
    }
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def _together(found: Disentanglement, pair: PairEffect, side: int) -> Together:
    mine, other = (found.alone[pair.places[one]].part for one in (side, 1 - side))
    return Together(
        partner=other.vector.address,
        scale=mine.scale,
        partner_scale=other.scale,
        probe_set=found.settings.images.probe_set(),
        success=pair.success[side],
        change=pair.change[side],
        overlap=pair.overlap,
        moved={name: round(one.value, 6) for name, one in pair.moved.items()} or None,
    )


def _other(pair: PairEffect, place: int) -> int:
    return pair.places[1 - pair.places.index(place)]


# --- from rows to values ---


def _success(rows: AloneRows, purpose: Purpose) -> Kept | None:
    """The share of images in which the attribute appears, or the mean IoU with the target."""
    if isinstance(purpose.attribute, Attribute):
        lacking = rows.before.all <= 0
        if not lacking.any():
            return None
        share, count = float((rows.after.all[lacking] > 0).mean()), int(lacking.sum())
        return Kept(value=share, count=count, interval=wilson(share, count), against=str(purpose))
    reached = _numbers(rows.reached)
    if not len(reached):
        return None
    return Kept(
        value=float(reached.mean()),
        count=len(reached),
        interval=bootstrap(reached.tolist(), "mean"),
        against=str(purpose),
    )


def _why_no_success(rows: AloneRows, purpose: Purpose) -> str:
    if isinstance(purpose.attribute, Attribute):
        return f"every image is {purpose.attribute} before the edit; give others"
    if isinstance(purpose.target, str):
        return f"{purpose.attribute}; or --operation, what becomes of each image's own mask"
    if not rows.ious.parts:
        return NO_MASKS
    return "no image has its parts, or it has no part labels, only a brush"


def _pair_effect(
    places: tuple[int, int],
    rows: PairRows,
    measured: MeasuredTogether,
    names: Sequence[str],
    *,
    seed: int,
) -> PairEffect:
    kept = [
        _kept_success(measured.alone[place], rows, side, measured.purposes[place], seed=seed)
        for side, place in enumerate(places)
    ]
    same = [_kept_change(one, seed=seed) for one in rows.same]
    overlaps = _numbers(rows.overlap)
    return PairEffect(
        places=places,
        success=(kept[0], kept[1]),
        change=(same[0], same[1]),
        overlap=float(overlaps.mean()) if len(overlaps) else None,
        moved=_moved(rows.ious, names, seed=seed),
    )


def _kept_success(
    alone: AloneRows, rows: PairRows, side: int, purpose: Purpose, *, seed: int
) -> Kept | None:
    """Of the images in which it succeeds alone, the share in which it does beside the other.

    Against a mask: the share of its gain in IoU over the unedited image. None where it has no
    success alone.
    """
    if isinstance(purpose.attribute, Attribute):
        had = (alone.before.all <= 0) & (alone.after.all > 0)
        if not had.any():
            return None
        share, count = float((rows.after[side].all[had] > 0).mean()), int(had.sum())
        return Kept(value=share, count=count, interval=wilson(share, count), against=str(purpose))
    if not (rows.reached[side].parts and alone.reached.parts):
        return None
    unedited, reached, both = alone.unedited.all, alone.reached.all, rows.reached[side].all
    known = ~np.isnan(unedited + reached + both)
    gains, left = (reached - unedited)[known], (both - unedited)[known]
    if not len(gains) or gains.mean() <= 0:
        return None
    return Kept(
        value=float(left.mean() / gains.mean()),
        count=len(gains),
        interval=bootstrap_ratio(left.tolist(), gains.tolist(), seed=seed),
        against=str(purpose),
    )


def _kept_change(rows: Rows, *, seed: int) -> Kept | None:
    values = _numbers(rows)
    if not len(values):
        return None
    return Kept(
        value=float(values.mean()),
        count=len(values),
        interval=bootstrap(values.tolist(), "mean", seed=seed),
    )


def _moved(rows: Rows, names: Sequence[str], *, seed: int) -> dict[str, Moved]:
    if not rows.parts:
        return {}
    found = {}
    for name, column in zip(names, (1 - rows.all).T, strict=True):
        values = column[~np.isnan(column)]
        if len(values):
            ends = bootstrap(values.tolist(), "mean", seed=seed)
            found[name] = Moved(float(values.mean()), len(values), ends)
    return found


def _numbers(rows: Rows) -> FloatArray:
    return rows.all[~np.isnan(rows.all)]


# --- JSON ---


def _kept_json(one: Kept | None) -> dict[str, Any] | None:
    if one is None:
        return None
    ends = None if one.interval is None else list(one.interval)
    return {"value": one.value, "interval": ends, "n": one.count, "against": one.against}


def _moved_json(moved: Mapping[str, Moved]) -> dict[str, Any]:
    return {
        name: {
            "value": one.value,
            "interval": None if one.interval is None else list(one.interval),
            "n": one.images,
        }
        for name, one in moved.items()
    }


def _alone_json(one: AloneEffect) -> dict[str, Any]:
    return {
        "address": one.part.vector.address,
        "scale": one.part.scale,
        "roi_labels": list(one.part.vector.roi_labels),
        "purpose": one.purpose,
        "success": _kept_json(one.success),
        "moved": _moved_json(one.moved),
    }


def _pair_json(one: PairEffect, addresses: Sequence[str]) -> dict[str, Any]:
    return {
        "vectors": [addresses[place] for place in one.places],
        "kept_success": [_kept_json(kept) for kept in one.success],
        "kept_change": [_kept_json(kept) for kept in one.change],
        "overlap": one.overlap,
        "moved": _moved_json(one.moved),
    }
