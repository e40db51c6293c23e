"""What a person opens after a run: a contact sheet and an HTML report."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import registry.errors
from batch.contact_sheet import Section, draw_contact_sheet
from batch.errors import DiskFullError
from batch.recipe import SOURCE_RECIPE
from batch.report_page import MAX_LISTED, Leftovers, Page, render_page
from batch.samples import Row, SampleReader, read_rows, summarise
from registry.blobs import write_atomically

SAMPLES_PER_RECIPE = 24
# Twice the width at which the page shows a picture.
_PICTURE_SIDE = 208
# What the page shows better than as a line of its table of settings.
_SHOWN_ELSEWHERE = ("labels", "recipes")


class ReportFiles(NamedTuple):
    """What `write_report` wrote."""

    report: Path
    contact_sheet: Path


def write_report(
    out: Path,
    run: Mapping[str, Any],
    rows: Iterable[Row],
    *,
    inputs_root: Path | None = None,
    samples_per_recipe: int = SAMPLES_PER_RECIPE,
) -> ReportFiles:
    """Write `contact_sheet.png` and `report.html` into a run's output folder.

    What failed or was rejected is read from `failed.jsonl` and `rejected.jsonl` beside the images.
    Images that are missing or unreadable leave a gap; they do not stop the report.

    Args:
        out: Output folder of the run.
        run: The run's record, as in `run.json`.
        rows: Rows of `metadata.jsonl`; read once.
        inputs_root: Folder that relative sources are found in; None is `out`, as for the unedited
            samples of a generated run.
        samples_per_recipe: At most so many images of a recipe are shown.

    Returns:
        The two files.

    Raises:
        DiskFullError: No space is left for them.
    """
    recipes = summarise(rows, samples_per_recipe=samples_per_recipe)
    reader = SampleReader(out, inputs_root=inputs_root or out, side=_PICTURE_SIDE)
    sections = [Section(recipe, [reader.read(row) for row in recipe.rows]) for recipe in recipes]
    page = Page(
        title=_title(out, run),
        subtitle=_subtitle(run),
        state=str(run.get("state", "completed")),
        counts=_tiles(run, sum(recipe.count for recipe in recipes)),
        sections=sections,
        failed=_leftovers(out / "failed.jsonl"),
        rejected=_leftovers(out / "rejected.jsonl"),
        labels=_labels(run),
        run={name: value for name, value in run.items() if name not in _SHOWN_ELSEWHERE},
    )
    files = ReportFiles(out / "report.html", out / "contact_sheet.png")
    # unedited samples are the "before" of every other recipe
    edited = [section for section in sections if section.recipe.name != SOURCE_RECIPE]
    sheet = draw_contact_sheet(page.title, page.subtitle, edited or sections)
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    try:
        write_atomically(files.contact_sheet, stream.getvalue())
        write_atomically(files.report, render_page(page).encode("utf-8"))
    except registry.errors.DiskFullError as exc:
        raise DiskFullError(f"output folder: {exc}") from exc
    return files


def _title(out: Path, run: Mapping[str, Any]) -> str:
    name = run.get("run_id", run.get("id"))
    return f"Run {str(name)[:8]}" if name else out.absolute().name or "Run"


def _subtitle(run: Mapping[str, Any]) -> str:
    """Class, mode and inputs, as far as the record tells."""
    settings = run.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    inputs = run.get("input_folder", run.get("input"))
    parts = [
        run.get("class", run.get("class_address")),
        f"mode {settings['mode']}" if "mode" in settings else None,
        f"embed {settings['embed']}" if "embed" in settings and inputs else None,
        f"composite {settings['composite']}" if "composite" in settings else None,
        str(inputs) if inputs else None,
    ]
    return "  ·  ".join(str(part) for part in parts if part)


def _tiles(run: Mapping[str, Any], images: int) -> dict[str, str]:
    """Counts in a fixed order; states without items are left out, except the two that matter."""
    counts = run.get("counts")
    known = {
        str(name): value
        for name, value in (counts.items() if isinstance(counts, Mapping) else ())
        if isinstance(value, int)
    }
    tiles = {"images": f"{images:,}"}
    for name in ("inputs", "rejected", "failed", "quarantined", "cancelled"):
        if known.get(name) or name in ("rejected", "failed"):
            tiles[name] = f"{known.get(name, 0):,}"
    seconds = run.get("seconds")
    if isinstance(seconds, int | float) and seconds > 0:
        tiles["duration"] = _duration(seconds)
        tiles["images per second"] = f"{images / seconds:.3g}"
    return tiles


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def _labels(run: Mapping[str, Any]) -> list[tuple[str, tuple[int, int, int]]]:
    """The parts of the class with their colours, where the record holds them."""
    labels = []
    for label in run.get("labels") or []:
        if isinstance(label, Mapping) and len(label.get("color", ())) == 3:
            red, green, blue = (min(255, max(0, int(value))) for value in label["color"])
            labels.append((str(label.get("name", label.get("index", ""))), (red, green, blue)))
    return labels


def _leftovers(path: Path) -> Leftovers:
    total = 0
    first: list[Mapping[str, Any]] = []
    for row in read_rows(path):
        total += 1
        if len(first) < MAX_LISTED:
            first.append(row)
    return Leftovers(total, first)
