"""The contact sheet of a run: before, after and mask of some images of each recipe."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from editvec.batch.reports.pictures import Sample, ShownTerm
from editvec.batch.reports.tally import RecipeTally
from editvec.registry.drawing import ACCENT, LINE, MISSING, MUTED, PAPER, paste_panel, write_line

SIDE = 128
MAX_RECIPES = 8
MAX_SAMPLES = 12

_GAP = 6
_GUTTER = 22
_MARGIN = 36
_TRIPLES_PER_ROW = 4
_TITLE = 74
_HEADING = 46
_CAPTION = 22


class Section(NamedTuple):
    """A recipe and the images of it that the sheet shows."""

    recipe: RecipeTally
    samples: Sequence[Sample]


def draw_contact_sheet(title: str, subtitle: str, sections: Sequence[Section]) -> Image.Image:
    """Draw the contact sheet.

    Args:
        title: First line.
        subtitle: Second line, small.
        sections: Recipes from top to bottom; at most MAX_RECIPES, and MAX_SAMPLES images of each,
            are drawn.

    Returns:
        An RGB picture, about 1700 pixels wide.
    """
    shown = sections[:MAX_RECIPES]
    triples = [min(len(section.samples), MAX_SAMPLES) for section in shown]
    columns = min(_TRIPLES_PER_ROW, max([2, *triples]))
    width = 2 * _MARGIN + columns * _triple_width() + (columns - 1) * _GUTTER
    heights = [
        _HEADING + -(-count // columns) * (SIDE + _CAPTION + _GAP) + _GUTTER for count in triples
    ]
    left_out = len(sections) - len(shown)
    footer = _CAPTION + _GAP if left_out or not sections else 0
    sheet = Image.new("RGB", (width, _MARGIN + _TITLE + sum(heights) + footer + _MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    write_line(pen, (_MARGIN, _MARGIN - 8), title, size=28, width=width - 2 * _MARGIN)
    write_line(
        pen, (_MARGIN, _MARGIN + 30), subtitle, size=15, fill=MUTED, width=width - 2 * _MARGIN
    )

    top = _MARGIN + _TITLE
    for section, height in zip(shown, heights, strict=True):
        _draw_section(sheet, pen, section, top=top, columns=columns)
        top += height
    if not sections:
        write_line(pen, (_MARGIN, top), "This run has no images.", size=15, fill=MUTED, width=width)
    elif left_out:
        text = f"and {left_out} more recipes: see report.html"
        write_line(pen, (_MARGIN, top), text, size=15, fill=MUTED, width=width)
    return sheet


def describe_terms(name: str, terms: Sequence[ShownTerm]) -> str:
    """A recipe's vectors and scales in words, or its name where it has none."""
    if not terms:
        return name or "no edit"
    return " + ".join(f"{_short(term.address)} × {scale_text(term)}" for term in terms)


def scale_text(term: ShownTerm) -> str:
    """The scale with a real minus sign, or what it is drawn from."""
    text = term.scale if isinstance(term.scale, str) else f"{term.scale:g}"
    return text.replace("-", "−")


def number_text(value: float) -> str:
    """Three significant digits, without an exponent where it can be helped."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _short(address: str) -> str:
    return address.rpartition("/")[2]


def _triple_width() -> int:
    return 3 * SIDE + 2 * _GAP


def _draw_section(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, section: Section, *, top: int, columns: int
) -> None:
    right = sheet.width - _MARGIN
    pen.line([(_MARGIN, top - 4), (right, top - 4)], fill=LINE, width=1)
    pen.rectangle([_MARGIN, top + 10, _MARGIN + 4, top + 28], fill=ACCENT)
    write_line(
        pen,
        (_MARGIN + 14, top + 7),
        describe_terms(section.recipe.name, section.recipe.terms),
        size=19,
        width=right - 330,
    )
    count = section.recipe.count
    note = f"{count:,} image{'' if count == 1 else 's'}   before · after · mask"
    write_line(pen, (right, top + 12), note, size=14, fill=MUTED, anchor="ra")
    for number, sample in enumerate(section.samples[:MAX_SAMPLES]):
        row, column = divmod(number, columns)
        left = _MARGIN + column * (_triple_width() + _GUTTER)
        _draw_triple(sheet, pen, sample, left, top + _HEADING + row * (SIDE + _CAPTION + _GAP))


def _draw_triple(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, sample: Sample, left: int, top: int
) -> None:
    for picture in (sample.before, sample.after, sample.mask):
        box = (left, top, left + SIDE - 1, top + SIDE - 1)
        pen.rounded_rectangle(box, radius=6, fill=MISSING)
        if picture is not None:
            fitted = picture.copy()
            fitted.thumbnail((SIDE, SIDE))
            offset = ((SIDE - fitted.width) // 2, (SIDE - fitted.height) // 2)
            paste_panel(sheet, fitted, (left + offset[0], top + offset[1]))
        left += SIDE + _GAP
    start = left - _triple_width() - _GAP
    write_line(pen, (start, top + SIDE + 3), _caption(sample), size=12, fill=MUTED, width=3 * SIDE)


def _caption(sample: Sample) -> str:
    file_name = sample.source.replace("\\", "/").rpartition("/")[2]
    names = sorted(sample.metrics, key=_interest)[:2]
    metrics = [f"{_in_words(name)} {number_text(sample.metrics[name])}" for name in names]
    return "   ".join([file_name, *metrics])


def _interest(name: str) -> tuple[bool, bool]:
    """Sorts metrics: ratios first and counts of steps last, otherwise in their order."""
    return name.endswith("num_steps"), "perceptual" in name


def _in_words(name: str) -> str:
    return name.replace("_", " ").replace(".", " ")
