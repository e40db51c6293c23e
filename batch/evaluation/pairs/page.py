"""The page about vectors that were measured together: heat maps and pictures. One file."""

from __future__ import annotations

from editvec.batch.evaluation.pairs.disentangle import (
    AloneEffect,
    Disentanglement,
    PairEffect,
    shown_parts,
)
from editvec.batch.reports.rendering import Figure, photograph, render, small
from editvec.registry.composition.pair_metrics import Kept

_WORST = 12
Cells = dict[tuple[int, int], Kept | None]


def page_of_pairs(found: Disentanglement) -> str:
    """A page that refers to nothing outside it."""
    names = [_name(one, place) for place, one in enumerate(found.alone)]
    images = len(found.measured.names)
    success, change = Cells(), Cells()
    for pair in found.pairs:
        for place, other, kept, left in zip(
            pair.places, pair.places[::-1], pair.success, pair.change, strict=True
        ):
            success[place, other], change[place, other] = kept, left
    alone = {(place, place): one.success for place, one in enumerate(found.alone)}
    return render(
        "evaluation/templates/pairs.html",
        title=f"{len(found.alone)} vectors together",
        subtitle=f"of class {found.alone[0].part.vector.class_name}, measured on "
        f"{found.settings.images.probe_set()}, {images} images",
        state="completed",
        note="",
        tiles=_tiles(found),
        found=found,
        names=names,
        parts=shown_parts(found),
        success=success | alone,
        change=change,
        overlaps={pair.places: pair.overlap for pair in found.pairs if pair.overlap is not None},
        figures=[
            _figure(found, pair, image, names)
            for pair in sorted(found.pairs, key=_least_kept)[:_WORST]
            # two images of each pair, and four of the only one
            for image in range(min(len(found.measured.before), 4 if len(found.pairs) == 1 else 2))
        ],
    )


def _tiles(found: Disentanglement) -> dict[str, str]:
    kept = [one for pair in found.pairs for one in pair.success if one is not None]
    overlaps = [pair.overlap for pair in found.pairs if pair.overlap is not None]
    tiles = {"vectors": f"{len(found.alone)}", "pairs": f"{len(found.pairs)}"}
    tiles["images"] = f"{len(found.measured.names)}"
    if kept:
        tiles["least success left"] = f"{min(one.value for one in kept):.2f}"
    if overlaps:
        tiles["largest overlap"] = f"{max(overlaps):.2f}"
    return tiles


def _least_kept(pair: PairEffect) -> float:
    kept = [one.value for one in (*pair.success, *pair.change) if one is not None]
    return min(kept, default=1.0)


def _figure(found: Disentanglement, pair: PairEffect, image: int, names: list[str]) -> Figure:
    measured, (first, second) = found.measured, pair.places
    one, other, of = names[first], names[second], measured.names[image]
    pictures = {
        f"{of} before": measured.before[image],
        f"{of} with {one}": measured.pictures[first,][image],
        f"{of} with {other}": measured.pictures[second,][image],
        f"{of} with {one} and {other}": measured.pictures[pair.places][image],
    }
    lines = [
        f"{name} keeps {_kept_text(success, change)}"
        for name, success, change in zip((one, other), pair.success, pair.change, strict=True)
    ]
    return Figure(
        f"{one} and {other}",
        of,
        [photograph(small(pixels), "after", alt) for alt, pixels in pictures.items()],
        [of, *lines],
    )


def _kept_text(success: Kept | None, change: Kept | None) -> str:
    if success is not None:
        return f"{success.value:.0%} of its success"
    return "no more is known" if change is None else f"{change.value:.0%} of its change"


def _name(one: AloneEffect, place: int) -> str:
    vector = one.part.vector
    scale = "" if one.part.scale == vector.default_scale else f"={one.part.scale:g}"
    return f"{place + 1} {vector.name}@{vector.version}{scale}"
