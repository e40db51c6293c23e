"""What a listing of vectors looks like: a table for people, CSV for their spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from editvec.registry.entities.metrics import newest_of_each
from editvec.registry.text_tables import Cell, format_table, range_text

if TYPE_CHECKING:
    from editvec.registry.entities.vectors import EditingVector

CSV_COLUMNS = (
    "address", "class", "class_version", "name", "version", "aliases", "kind", "latent_space",
    "roi", "roi_policy", "dilation", "tags", "metrics", "default_scale", "scale_min", "scale_max",
    "license", "description", "created_at", "created_by", "retired_at", "generator_digest",
    "delta_digest",
)  # fmt: skip
_QUALITY = ("success (n)", "leakage", "usable")


def listing_text(
    found: Sequence[EditingVector],
    *,
    metrics: Sequence[str] = (),
    cosines: Sequence[float] | None = None,
) -> str:
    """A table of vectors: address, aliases, how good they are, and some metrics.

    Success, leakage and usable scales have columns where one of the vectors has them.

    Args:
        found: one row each.
        metrics: these get columns of their own.
        cosines: how near each vector is to the one that was searched for, where one was.
    """
    nearness = [()] * len(found) if cosines is None else [(cosine,) for cosine in cosines]
    quality = [_quality(vector) for vector in found]
    known = [place for place in range(len(_QUALITY)) if any(cells[place] for cells in quality)]
    rows = [
        (
            _with_aliases(vector),
            *cosine,
            vector.kind.value,
            *(cells[place] for place in known),
            *_values(vector, metrics),
            ",".join(vector.roi_labels),
            ",".join(vector.tags),
            f"{vector.created_at:%Y-%m-%d}",
            vector.description,
        )
        for vector, cosine, cells in zip(found, nearness, quality, strict=True)
    ]
    near = [] if cosines is None else ["cosine"]
    measured = [_QUALITY[place] for place in known]
    headers = [
        "vector",
        *near,
        "kind",
        *measured,
        *metrics,
        "roi",
        "tags",
        "created",
        "description",
    ]
    return format_table(headers, rows)


def _quality(vector: EditingVector) -> tuple[str, str, str]:
    """What was measured on more than the image that a vector was learned from."""
    known = newest_of_each([one for one in vector.metrics if one.sample_count > 1])
    success, leakage = "", ""
    if (one := known.get("success_attribute")) is not None:
        of = str(one.settings.get("against") or "")
        success = " ".join(f"{100 * one.value:.0f} % {of} ({one.sample_count})".split())
    elif (one := known.get("success_iou")) is not None:
        success = f"{one.value:.2f} IoU ({one.sample_count})"
    if (one := known.get("leakage_psnr")) is not None:
        leakage = f"{one.value:.1f} dB"
    return success, leakage, range_text(vector.scale_min, vector.scale_max)


def csv_rows(
    found: Iterable[EditingVector],
    *,
    metrics: Sequence[str] = (),
    cosines: Iterable[float] | None = None,
) -> Iterator[str]:
    """Vectors as CSV, row by row after a header; several names in one cell stand apart by blanks.

    Args:
        found: one row each.
        metrics: these get columns of their own, behind those that are always there.
        cosines: how near each vector is to the one that was searched for, where one was; the last
            column.
    """
    near = [] if cosines is None else ["cosine"]
    yield _csv_row([*CSV_COLUMNS, *metrics, *near])
    nearness = repeat(()) if cosines is None else ((cosine,) for cosine in cosines)
    for vector, cosine in zip(found, nearness, strict=False):
        yield _csv_row([*_csv_cells(vector), *_values(vector, metrics), *cosine])


def json_pieces(found: Iterable[Any]) -> Iterator[str]:
    """Entities as a JSON list, one after another: all together would be too much for memory."""
    from editvec.registry.library.records import (
        told_json,  # it loads the tables, which `opened` does faster
    )

    before = "["
    for entity in found:
        text = json.dumps(told_json(entity), indent=2, ensure_ascii=False).replace("\n", "\n  ")
        yield f"{before}\n  {text}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _csv_row(cells: Sequence[Cell]) -> str:
    stream = io.StringIO()
    # a cell is quoted for the characters that end a line, and some readers end one at either
    csv.writer(stream, lineterminator="\r\n").writerow(map(_no_formula, cells))
    return stream.getvalue().removesuffix("\r\n") + "\n"


def _no_formula(cell: Cell) -> Cell:
    """A cell that no spreadsheet calculates: a text that looks like a formula gets a quote."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell


def _with_aliases(vector: EditingVector) -> str:
    marks = [*vector.aliases, *(["(retired)"] if vector.is_retired else [])]
    return " ".join([vector.address, *marks])


def _values(vector: EditingVector, metrics: Sequence[str]) -> list[Cell]:
    """The newest values of some metrics; None where the vector has none."""
    values = {metric.name: metric.value for metric in vector.latest_metrics}
    return [values.get(name) for name in metrics]


def _csv_cells(vector: EditingVector) -> list[Cell]:
    return [
        vector.address,
        vector.class_name,
        vector.class_version,
        vector.name,
        vector.version,
        " ".join(vector.aliases),
        vector.kind.value,
        vector.latent_space.value,
        " ".join(vector.roi_labels),
        vector.roi_policy.value,
        vector.dilation,
        " ".join(vector.tags),
        " ".join(f"{metric.name}={metric.value!r}" for metric in vector.latest_metrics),
        vector.default_scale,
        vector.scale_min,
        vector.scale_max,
        vector.license,
        vector.description,
        vector.created_at.isoformat(),
        vector.created_by,
        None if vector.retired_at is None else vector.retired_at.isoformat(),
        vector.generator_digest,
        vector.delta_digest,
    ]
