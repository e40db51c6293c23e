"""The page about vectors that were measured together: heat maps and pictures. One file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.batch.evaluation.pairs.disentangle import (
    AloneEffect,
    Disentanglement,
    PairEffect,
    shown_parts,
)
from editvec.batch.reports.html import card, document, header, photograph, table, text
from editvec.registry.composition.pair_metrics import Kept

_LARGEST_SIDE = 256
_WORST = 12


def page_of_pairs(found: Disentanglement) -> str:
    """A page that refers to nothing outside it."""
    count = len(found.measured.names)
    title = f"{len(found.alone)} vectors together"
    parts = [
        header(
            title,
            f"of class {found.alone[0].part.vector.class_name}, measured on "
            f"{found.settings.images.probe_set()}, {count} images",
            state="completed",
            note="",
            tiles=_tiles(found),
        ),
        card("moved", "How far each part moves", _moved_map(found), note=_MOVED_NOTE),
        card("success", "What is left of success", _success_map(found), note=_SUCCESS_NOTE),
        card("change", "What is left of the change", _change_map(found), note=_CHANGE_NOTE),
        card("overlap", "Overlap", _overlap_map(found), note=_OVERLAP_NOTE),
        card("missing", "Not measured", _missing(found)),
        card("pictures", "Pairs, what keeps least first", _pictures(found)),
    ]
    return document(title, [part for part in parts if part])


_MOVED_NOTE = "1 - IoU before and after, alone; parts of the vector's ROI are framed"
_SUCCESS_NOTE = (
    "of the row's vector, when the column's is applied too; on the diagonal, its success alone"
)
_CHANGE_NOTE = (
    "the share of the pixels that the row's vector changes alone and that stay so beside the "
    "column's"
)
_OVERLAP_NOTE = "Jaccard index of the pixels whose labels each changes alone"


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


# --- heat maps ---


def _cell(value: float | None, title: str = "", *, strength: float | None = None) -> str:
    """A number on a ground that is the stronger the larger `strength` is, 0 to 1."""
    if value is None:
        return '<span class="note">–</span>'
    share = value if strength is None else strength
    percent = round(100 * min(1.0, max(0.0, share)))
    return f'<span class="heat" style="--heat:{percent}%" title="{text(title)}">{value:.2f}</span>'


def _moved_map(found: Disentanglement) -> str:
    parts = shown_parts(found)
    if not parts:
        return ""
    rows = []
    for place, one in enumerate(found.alone):
        cells = [f"<b>{text(_name(one, place))}</b>"]
        for part in parts:
            moved = one.moved.get(part)
            cell = _cell(
                None if moved is None else moved.value,
                "" if moved is None else _of(moved.images, moved.interval),
            )
            is_inside = part in one.part.vector.roi_labels
            cells.append(f'<span class="inside">{cell}</span>' if is_inside else cell)
        rows.append(cells)
    head = ["vector", *(text(part) for part in parts)]
    return table(head, rows, numbers=range(1, len(parts) + 1))


def _success_map(found: Disentanglement) -> str:
    cells: dict[tuple[int, int], Kept | None] = {
        (row, row): one.success for row, one in enumerate(found.alone)
    }
    cells |= _sides(found, lambda pair: pair.success)
    return _matrix(found, cells, last=[one.purpose for one in found.alone])


def _change_map(found: Disentanglement) -> str:
    return _matrix(found, _sides(found, lambda pair: pair.change))


def _sides(found: Disentanglement, values: Any) -> dict[tuple[int, int], Kept | None]:
    return {
        (place, pair.places[1 - side]): values(pair)[side]
        for pair in found.pairs
        for side, place in enumerate(pair.places)
    }


def _matrix(
    found: Disentanglement,
    cells: Mapping[tuple[int, int], Kept | None],
    *,
    last: Sequence[str] = (),
) -> str:
    """Vectors by vectors; what is lost makes the ground strong."""
    if not any(cells.values()):
        return ""
    numbers = range(len(found.alone))
    rows = []
    for row in numbers:
        line = [f"<b>{text(_name(found.alone[row], row))}</b>"]
        for column in numbers:
            kept = cells.get((row, column))
            if kept is None:
                line.append(_cell(None))
            elif row == column:
                line.append(f"<b>{kept.value:.2f}</b>")
            else:
                about = _of(kept.count, kept.interval)
                line.append(_cell(kept.value, about, strength=1 - kept.value))
        rows.append([*line, *([f'<span class="note">{text(last[row])}</span>'] if last else [])])
    head = ["vector", *(str(number + 1) for number in numbers), *(["success is"] if last else [])]
    return table(head, rows, numbers=range(1, len(numbers) + 1))


def _overlap_map(found: Disentanglement) -> str:
    overlaps = {pair.places: pair.overlap for pair in found.pairs}
    if not any(one is not None for one in overlaps.values()):
        return ""
    numbers = range(len(found.alone))
    rows = []
    for row in numbers:
        line = [f"<b>{text(_name(found.alone[row], row))}</b>"]
        for column in numbers:
            key = (min(row, column), max(row, column))
            line.append("" if row == column else _cell(overlaps.get(key)))
        rows.append(line)
    head = ["vector", *(str(number + 1) for number in numbers)]
    return table(head, rows, numbers=range(1, len(numbers) + 1))


def _of(count: int, interval: tuple[float, float] | None) -> str:
    ends = "" if interval is None else f", 95 % {interval[0]:.2f} to {interval[1]:.2f}"
    return f"n={count}{ends}"


def _missing(found: Disentanglement) -> str:
    rows = [[f"<b>{text(one.name)}</b>", text(one.reason)] for one in found.missing]
    rows += [
        [text(name), f"left out: {text(reason)}"] for name, reason in found.measured.skipped.items()
    ]
    return table(["what", "why, and how to get it"], rows) if rows else ""


# --- pictures ---


def _pictures(found: Disentanglement) -> str:
    worst = sorted(found.pairs, key=_least_kept)[:_WORST]
    figures = [_figure(found, pair, image) for pair in worst for image in _shown(found)]
    if not figures:
        return ""
    legend = '<div class="legend"><b>before · first · second · both</b></div>'
    return f'{legend}<div class="grid">{"".join(figures)}</div>'


def _shown(found: Disentanglement) -> range:
    """Two images of each pair, and four of the only one."""
    return range(min(len(found.measured.before), 4 if len(found.pairs) == 1 else 2))


def _least_kept(pair: PairEffect) -> float:
    kept = [one.value for one in (*pair.success, *pair.change) if one is not None]
    return min(kept, default=1.0)


def _figure(found: Disentanglement, pair: PairEffect, image: int) -> str:
    measured, (first, second) = found.measured, pair.places
    names = [_name(found.alone[place], place) for place in pair.places]
    of = measured.names[image]
    pictures = [
        (measured.before[image], f"{of} before"),
        (measured.pictures[first,][image], f"{of} with {names[0]}"),
        (measured.pictures[second,][image], f"{of} with {names[1]}"),
        (measured.pictures[pair.places][image], f"{of} with {names[0]} and {names[1]}"),
    ]
    images = "".join(photograph(_small(pixels), "after", alt) for pixels, alt in pictures)
    values = "".join(
        f"<span>{text(name)} keeps {_kept_text(success, change)}</span>"
        for name, success, change in zip(names, pair.success, pair.change, strict=True)
    )
    caption = f"<b>{text(' and '.join(names))}</b><span>{text(of)}</span>{values}"
    return f'<figure><div class="row">{images}</div><figcaption>{caption}</figcaption></figure>'


def _kept_text(success: Kept | None, change: Kept | None) -> str:
    if success is not None:
        return f"{success.value:.0%} of its success"
    return "no more is known" if change is None else f"{change.value:.0%} of its change"


def _small(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return picture


def _name(one: AloneEffect, place: int) -> str:
    vector = one.part.vector
    scale = "" if one.part.scale == vector.default_scale else f"={one.part.scale:g}"
    return f"{place + 1} {vector.name}@{vector.version}{scale}"
