"""The figures of the smile benchmark, and the grid of faces that people can judge by eye."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from editvec.registry.drawing import MUTED, PAPER, write_line

Which = Literal["accuracy", "identity", "fid", "leakage"]

_COLORS = ("#5b5bd6", "#d9480f", "#e8a33d", "#2b8a3e", "#868e96", "#0b7285", "#a61e4d")
_TITLES = {
    "accuracy": "accuracy",
    "identity": "identity similarity",
    "fid": "FID",
    "leakage": "leakage outside the ROI, dB",
}
_SIDE, _GAP, _HEAD = 96, 6, 46
_DPI = 100
_NEAR = (80.0, 100.5), (0.955, 1.0)


class Place(NamedTuple):
    """A method at one scale.

    Attributes:
        scale: Along its direction.
        accuracy: Share of the faces that smile.
        identity: Mean cosine.
        fid: None where it was not measured.
        leakage: In dB, the more the less leaks; likewise.
        intervals: Ends, by the name of the value; None where there are none.
    """

    scale: float
    accuracy: float
    identity: float
    fid: float | None = None
    leakage: float | None = None
    intervals: Mapping[str, Sequence[float] | None] = MappingProxyType({})

    def of(self, which: Which) -> float | None:
        """One of the values."""
        found: float | None = getattr(self, which)
        return found


class Column(NamedTuple):
    """Faces of one method: its title, a note, and uint8 [N, H, W, 3]."""

    title: str
    note: str
    pictures: Sequence[Any] | None


def draw_over_scales(
    out: Path, curves: Mapping[str, Sequence[Place]], single: Mapping[str, Place]
) -> None:
    """Draw accuracy against identity, and FID against the scale, into two files of `out`.

    Args:
        out: Gets `accuracy-identity.png` and `fid-scale.png`.
        curves: Places of each direction, from the least scale to the largest.
        single: What was measured once, beside the curves of the first figure.
    """
    figure = Figure((9.6, 4.4), layout="constrained")
    for panel in (1, 2):
        axes = figure.add_subplot(1, 2, panel, xlabel="accuracy, %", ylabel=_TITLES["identity"])
        for color, (name, places) in zip(_COLORS, curves.items(), strict=False):
            percents = [100 * one.accuracy for one in places]
            axes.plot(percents, [one.identity for one in places], "o-", c=color, label=name, ms=4)
        for marker, (name, one) in zip("sD^v*P", single.items(), strict=False):
            axes.plot([100 * one.accuracy], [one.identity], marker, c=_COLORS[0], label=name, ms=7)
    axes.set(xlim=_NEAR[0], ylim=_NEAR[1])  # the second panel: where every method succeeds
    axes.grid(alpha=0.3)
    _finish(figure, figure.axes[0], out / "accuracy-identity.png")

    figure = Figure((7.2, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="scale, in each direction's own unit", ylabel="FID")
    for color, (name, places) in zip(_COLORS, curves.items(), strict=False):
        _line(axes, [(one.scale, one) for one in places], "fid", color=color, label=name)
    _finish(figure, axes, out / "fid-scale.png")


def draw_over_steps(path: Path, steps: Mapping[int, Place], count: int) -> None:
    """Draw accuracy, identity, FID and leakage over the steps of refinement.

    Args:
        path: The file.
        steps: By their number.
        count: Faces, for the title.
    """
    if not steps:
        return
    figure = Figure((10.4, 2.9), layout="constrained")
    figure.suptitle(f"refinement, n={count}", fontsize=10)
    names: tuple[Which, ...] = ("accuracy", "identity", "fid", "leakage")
    for place, which in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), place, xlabel="steps", ylabel=_TITLES[which])
        _line(axes, sorted(steps.items()), which, color=_COLORS[0])
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=_DPI)


def draw_grid(path: Path, columns: Sequence[Column]) -> None:
    """Draw the same faces row by row, a column for each method."""
    if not columns:
        return
    rows = min(len(one.pictures) for one in columns if one.pictures is not None)
    size = (len(columns) * (_SIDE + _GAP) + _GAP, _HEAD + rows * (_SIDE + _GAP))
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, column in enumerate(columns):
        left = _GAP + place * (_SIDE + _GAP)
        write_line(pen, (left, 6), column.title, size=14, width=_SIDE)
        write_line(pen, (left, 25), column.note, size=12, fill=MUTED, width=_SIDE)
        assert column.pictures is not None
        for row in range(rows):
            picture = Image.fromarray(np.asarray(column.pictures[row], np.uint8))
            resized = picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            sheet.paste(resized, (left, _HEAD + row * (_SIDE + _GAP)))
    sheet.quantize(256).save(path, optimize=True)


def _line(axes: Axes, places: Sequence[tuple[float, Place]], which: Which, **style: Any) -> None:
    """A value with its intervals, where it is known."""
    known = [(x, one.of(which), one.intervals.get(which)) for x, one in places]
    shown = [(x, y, ends or (y, y)) for x, y, ends in known if y is not None]
    if not shown:
        return
    below = [max(0.0, y - ends[0]) for _, y, ends in shown]
    above = [max(0.0, ends[1] - y) for _, y, ends in shown]
    axes.errorbar(
        [x for x, _, _ in shown], [y for _, y, _ in shown], yerr=[below, above], fmt="o-", ms=4,
        capsize=2, lw=1.4, **style,
    )  # fmt: skip


def _finish(figure: Figure, axes: Axes, path: Path) -> None:
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=_DPI)
