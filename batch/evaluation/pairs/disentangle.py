"""How far vectors disturb each other: tables of what was measured of them together, and storing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from editvec.batch.evaluation.evaluate import EVALUATION_KEY
from editvec.batch.evaluation.pairs.measure import (
    MeasuredTogether,
    OnProgress,
    PairRows,
    measure_together,
)
from editvec.batch.evaluation.pairs.settings import PairSettings, PinnedPart
from editvec.batch.evaluation.pairs.values import (
    NO_MASKS,
    Moved,
    kept_change,
    kept_success,
    moved_of,
    numbers,
    success_of,
    why_no_success,
    why_nothing_to_keep,
)
from editvec.batch.evaluation.probes import unlike_text
from editvec.batch.evaluation.table import Missing
from editvec.batch.runs.plan import canonical_json
from editvec.engine.editor import Editor
from editvec.registry.composition.pair_metrics import Kept, Together, metrics_of_pair
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library.library import Library
from editvec.registry.release import engine_version

LEAST_SHOWN = 0.005


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

    @property
    def unlike_text(self) -> str:
        """What is said of images that do not look like the class; empty without any."""
        measured, class_name = self.measured, self.alone[0].part.vector.class_name
        return unlike_text(measured.unlike, len(measured.names), class_name)

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
            "unlike": self.measured.unlike,
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
        success = success_of(rows, purpose)
        if success is None:
            missing[f"success of {part.vector.address}"] = why_no_success(rows, purpose)
        alone.append(
            AloneEffect(
                part=part,
                purpose=str(purpose),
                success=success,
                moved=moved_of(rows.ious, names, seed=seed),
            )
        )
    pairs = [
        _pair_effect(places, rows, measured, names, seed=seed)
        for places, rows in measured.pairs.items()
    ]
    for place, one in enumerate(alone):
        beside = [pair.success[pair.places.index(place)] for pair in pairs if place in pair.places]
        if one.success is not None and None in beside:
            why = why_nothing_to_keep(measured.purposes[place])
            missing[f"success left of {one.part.vector.address}"] = why
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
    """Stores with each vector what was measured of it beside each other: with all or with none.

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
    metrics: dict[str, list[NewMetric]] = {}
    for pair in found.pairs:
        for side, place in enumerate(pair.places):
            partner = found.alone[pair.places[1 - side]].part.vector
            kept = metrics_of_pair(_together(found, pair, side), partner, settings)
            if kept:
                metrics.setdefault(found.alone[place].part.vector.address, []).extend(kept)
    if not metrics:
        return []
    return library.add_metrics_of_several(metrics, reason=f"disentangled on {images.probe_set()}")


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


def _pair_effect(
    places: tuple[int, int],
    rows: PairRows,
    measured: MeasuredTogether,
    names: Sequence[str],
    *,
    seed: int,
) -> PairEffect:
    kept = [
        kept_success(measured.alone[place], rows, side, measured.purposes[place], seed=seed)
        for side, place in enumerate(places)
    ]
    same = [kept_change(one, seed=seed) for one in rows.same]
    overlaps = numbers(rows.overlap)
    return PairEffect(
        places=places,
        success=(kept[0], kept[1]),
        change=(same[0], same[1]),
        overlap=float(overlaps.mean()) if len(overlaps) else None,
        moved=moved_of(rows.ious, names, seed=seed),
    )


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
