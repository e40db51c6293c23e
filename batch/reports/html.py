"""The pieces of the report page: text that is only text, pictures as data, tables.

Every text that comes from outside goes through `text`: names of files and of vectors are hostile
until escaped.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

from editvec.batch.reports.style import STYLE
from editvec.registry.drawing import printable

_PHOTO_QUALITY = 84
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STATES = {"completed": "good", "running": "busy", "planned": "busy"}


def text(value: Any) -> str:
    """Text that HTML shows as it is, also within an attribute's quotes."""
    return html.escape(printable(str(value)), quote=True)


def document(title: str, parts: Iterable[str]) -> str:
    """A complete page without references to anything outside it.

    Args:
        title: Of the window.
        parts: HTML of the body.
    """
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{text(title)}</title>",
            f"<style>{STYLE}</style></head><body><main>",
            *parts,
            "</main></body></html>\n",
        ]
    )


def header(title: str, subtitle: str, *, state: str, note: str, tiles: Mapping[str, str]) -> str:
    """The top of a page about a run.

    Args:
        title: Headline.
        subtitle: Line below it.
        state: Of the run, as in the database.
        note: What to know before reading; empty for a finished run.
        tiles: Figures by their names, in order.
    """
    kind = _STATES.get(state, "warn")
    figures = "".join(
        f'<div class="tile"><b>{text(value)}</b><span>{text(name)}</span></div>'
        for name, value in tiles.items()
    )
    notice = f'<p class="notice" role="note">{text(note)}</p>' if note else ""
    return (
        f'<header><div class="head"><div><h1>{text(title)}</h1>'
        f'<p class="sub">{text(subtitle)}</p></div>'
        f'<span class="badge {kind}">{text(state.replace("_", " "))}</span></div>'
        f'{notice}<div class="tiles">{figures}</div></header>'
    )


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()
) -> str:
    """A table of HTML cells that scrolls on its own where the page is narrow.

    Args:
        head: HTML of the column headings.
        rows: HTML of the cells.
        numbers: columns that are aligned to the right.
    """

    def attribute(column: int) -> str:
        return ' class="num"' if column in numbers else ""

    headings = "".join(
        f'<th scope="col"{attribute(column)}>{cell}</th>' if cell else "<td></td>"
        for column, cell in enumerate(head)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{attribute(i)}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{headings}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def card(identifier: str, title: str, body: str, *, note: str = "") -> str:
    """A section of the page; none where it has no body. All but the identifier are HTML."""
    if not body:
        return ""
    beside = f'<span class="note">{note}</span>' if note else ""
    return (
        f'<section class="card" id="{identifier}"><div class="head"><h2>{title}</h2>{beside}</div>'
        f"{body}</section>"
    )


def photograph(picture: Image.Image | None, role: str, alt: str) -> str:
    """A picture that may lose a little."""
    return _picture(picture, role, alt, "webp", quality=_PHOTO_QUALITY, method=4)


def exact_picture(picture: Image.Image | None, role: str, alt: str) -> str:
    """A picture of few colours, which stay what they are."""
    small = None if picture is None else picture.quantize(256)
    return _picture(small, role, alt, "png", optimize=True)


def _picture(picture: Image.Image | None, role: str, alt: str, kind: str, **options: Any) -> str:
    if picture is None:
        return f'<span class="missing" role="img" aria-label="no {text(alt)}">–</span>'
    stream = io.BytesIO()
    picture.save(stream, kind.upper(), **options)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<img class="{role}" alt="{text(alt)}" width="{picture.width}" height="{picture.height}" '
        f'loading="lazy" src="data:image/{kind};base64,{data}">'
    )
