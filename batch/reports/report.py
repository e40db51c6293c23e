"""What a person opens after a run, or during it: a contact sheet and an HTML report."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import editvec.registry.errors
from editvec.batch.errors import DiskFullError
from editvec.batch.recipes.recipe import SOURCE_RECIPE
from editvec.batch.recipes.scales import scale_from_json
from editvec.batch.reports.contact_sheet import Section, draw_contact_sheet
from editvec.batch.reports.page import Page, Shown, VectorFact, render_page
from editvec.batch.reports.pictures import (
    Row,
    Sample,
    SampleReader,
    ShownTerm,
    term_address,
)
from editvec.batch.reports.sections import MAX_REASONS, Reason
from editvec.batch.reports.tally import Lowest, RunTally, leakage_of, success_of
from editvec.engine.images.images import Fit
from editvec.registry.files import write_atomically

SAMPLES_PER_RECIPE = 9
# images of all recipes together; of more recipes than that, later ones show none
MAX_SAMPLES = 96
MIN_SAMPLES_PER_RECIPE = 2
_PICTURED_REASONS = 8
# more than the width at which the page shows a picture
_PICTURE_SIDE = 192
# What the page shows better than as a line of its table of settings.
_SHOWN_ELSEWHERE = ("labels", "recipes", "request")
_UNFINISHED = ("planned", "running", "paused")


class ReportFiles(NamedTuple):
    """What was written about a run, and the numbers behind it; None for a sheet of no images."""

    report: Path
    contact_sheet: Path | None
    numbers: dict[str, Any]


def write_report(
    out: Path,
    run: Mapping[str, Any],
    rows: Iterable[Row],
    *,
    inputs_root: Path | None = None,
    complete: Callable[[Row], Row] | None = None,
    workers: Sequence[Mapping[str, Any]] = (),
    samples_per_recipe: int = SAMPLES_PER_RECIPE,
) -> ReportFiles:
    """Write `contact_sheet.png` and `report.html` into a run's output folder.

    Images that are missing or unreadable leave a gap; they do not stop the report. Memory does not
    grow with the number of rows.

    Args:
        out: Output folder of the run.
        run: The run's record, as in `run.json`; of a run that goes on, as it is now.
        rows: Rows of `metadata.jsonl`, and rows of the same form of items without an image, with
            `state` and `reason`; read once.
        inputs_root: Folder that relative sources are found in; None is `out`, as for the unedited
            samples of a generated run.
        complete: Makes a row whole that was chosen to be shown; None = rows are whole.
        workers: Who worked on the run: name, chunks_done, inputs_done, chunk.
        samples_per_recipe: At most so many images of a recipe are shown.

    Returns:
        The two files, and the numbers.

    Raises:
        DiskFullError: No space is left for them.
    """
    tally = RunTally(samples_per_recipe=samples_per_recipe)
    tally.add_all(rows)
    _name_terms(tally, run)
    reader = _PictureReader(out, run, inputs_root or out, complete)
    shown = reader.shown(tally, samples_per_recipe)
    page = Page(
        title=_title(out, run),
        subtitle=_subtitle(run),
        state=str(run.get("state", "completed")),
        note=_note(run),
        tiles=_tiles(run, tally),
        facts=_facts(run),
        vectors=_vectors(run),
        tally=tally,
        shown=shown,
        reasons=reader.reasons(tally),
        labels=_labels(run),
        workers=workers,
        run={name: value for name, value in run.items() if name not in _SHOWN_ELSEWHERE},
    )
    report, contact_sheet = out / "report.html", out / "contact_sheet.png"
    stream = io.BytesIO()
    sheet = draw_contact_sheet(page.title, page.subtitle, _sections(tally, shown))
    sheet.save(stream, "PNG", optimize=True)
    try:
        write_atomically(contact_sheet, stream.getvalue())
        write_atomically(report, render_page(page).encode("utf-8"))
    except editvec.registry.errors.LibraryDiskFullError as exc:
        raise DiskFullError(f"output folder: {exc}") from exc
    return ReportFiles(report, contact_sheet, tally.to_json())


# --- pictures ---


class _PictureReader:
    """Reads the pictures of the rows that are shown."""

    def __init__(
        self,
        out: Path,
        run: Mapping[str, Any],
        inputs_root: Path,
        complete: Callable[[Row], Row] | None,
    ) -> None:
        settings = _settings(run)
        fit = settings.get("fit")
        is_around_boxes = settings.get("boxes") and settings.get("output_size") != "original"
        self._complete = complete or (lambda row: row)
        self._reader = SampleReader(
            out,
            inputs_root=inputs_root,
            side=_PICTURE_SIDE,
            fit=cast("Fit", fit) if fit in ("stretch", "crop", "pad") else "crop",
            is_lossless=str(settings.get("image_format", "png")) in ("png", "webp:lossless"),
            box_margin=float(settings["box_margin"]) if is_around_boxes else None,
        )

    def shown(self, tally: RunTally, samples_per_recipe: int) -> dict[str, Shown]:
        """The images of each recipe."""
        recipes = [recipe for recipe in tally.recipes.values() if recipe.count]
        each = max(MIN_SAMPLES_PER_RECIPE, MAX_SAMPLES // max(1, len(recipes)))
        each = min(samples_per_recipe, each)
        made = {}
        for recipe in recipes[: MAX_SAMPLES // MIN_SAMPLES_PER_RECIPE]:
            spread = sorted(map(self._complete, recipe.spread.rows(each)), key=_place)
            shown = Shown(spread=[self._reader.read(row) for row in spread])
            if each >= samples_per_recipe and recipe.count > recipe.spread.size:
                worst, best = self._ends(recipe.worst, recipe.best, leakage_of)
                missed, met = self._ends(recipe.missed, recipe.met, success_of)
                shown = replace(shown, worst=worst, best=best, missed=missed, met=met)
            made[recipe.name] = shown
        return made

    def _ends(
        self, worst: Lowest, best: Lowest, value_of: Callable[[Row], float | None]
    ) -> tuple[list[Sample], list[Sample]]:
        """The images at both ends of a measure; none where all of them are alike."""
        ends = worst.rows(), best.rows()
        if not ends[0] or value_of(ends[0][0]) == value_of(ends[1][0]):
            return [], []
        first, last = ([self._reader.read(self._complete(row)) for row in rows] for rows in ends)
        return first, last

    def reasons(self, tally: RunTally) -> list[Reason]:
        """Why items gave no image, with inputs of some."""
        found = []
        for number, one in enumerate(tally.reasons()[:MAX_REASONS]):
            rows = one.examples.rows() if number < _PICTURED_REASONS else []
            examples: dict[str, tuple[Row, str]] = {}
            for row in map(self._complete, rows):
                examples.setdefault(str(row.get("source")), (row, str(row.get("reason") or "")))
            found.append(
                Reason(
                    one,
                    [self._reader.read(row) for row, _ in examples.values()],
                    [words for _, words in examples.values()],
                )
            )
        return found


def _place(row: Row) -> tuple[int, str]:
    return int(row.get("position") or 0), str(row.get("source"))


def _sections(tally: RunTally, shown: Mapping[str, Shown]) -> list[Section]:
    """What the contact sheet shows."""
    sections = [
        Section(
            recipe.name,
            recipe.terms,
            recipe.count,
            shown[recipe.name].spread if recipe.name in shown else [],
        )
        for recipe in tally.recipes.values()
        if recipe.count
    ]
    # unedited samples are the "before" of every other recipe
    edited = [section for section in sections if section.name != SOURCE_RECIPE]
    return edited or sections


# --- words ---


def _settings(run: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = run.get("settings")
    return settings if isinstance(settings, Mapping) else {}


def _edits(run: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every edit of the run's recipes, with the recipe's name."""
    return [
        (str(recipe.get("name")), edit)
        for recipe in run.get("recipes") or []
        if isinstance(recipe, Mapping)
        for edit in recipe.get("edits") or []
        if isinstance(edit, Mapping)
    ]


def _term(edit: Mapping[str, Any]) -> ShownTerm:
    scale = scale_from_json(edit.get("scale", 1.0))
    return ShownTerm(term_address(edit), scale if isinstance(scale, int | float) else str(scale))


def _name_terms(tally: RunTally, run: Mapping[str, Any]) -> None:
    """Gives recipes their vectors as asked for: what was drawn for one item says less."""
    asked: dict[str, list[ShownTerm]] = {}
    for name, edit in _edits(run):
        asked.setdefault(name, []).append(_term(edit))
    for recipe in tally.recipes.values():
        recipe.terms = asked.get(recipe.name, recipe.terms)


def _vectors(run: Mapping[str, Any]) -> list[VectorFact]:
    scales: dict[str, dict[str, None]] = {}
    first: dict[str, Mapping[str, Any]] = {}
    for _, edit in _edits(run):
        term = _term(edit)
        words = term.scale if isinstance(term.scale, str) else f"{term.scale:g}"
        scales.setdefault(term.address, {})[words.replace("-", "−")] = None
        first.setdefault(term.address, edit)
    return [
        VectorFact(
            address,
            scales=list(scales[address]),
            parts=[str(label) for label in edit.get("roi_labels") or []],
            digest=str(edit.get("delta_digest") or ""),
        )
        for address, edit in first.items()
    ]


def _title(out: Path, run: Mapping[str, Any]) -> str:
    name = run.get("run_id", run.get("id"))
    return f"Run {str(name)[:8]}" if name else out.absolute().name or "Run"


def _subtitle(run: Mapping[str, Any]) -> str:
    """Class, inputs and outputs, as far as the record tells."""
    source = run.get("input_folder", run.get("input"))
    parts = [run.get("class", run.get("class_address")), source]
    return "  ·  ".join(str(part) for part in parts if part)


def _note(run: Mapping[str, Any]) -> str:
    """What to know of a run that is not over."""
    state = str(run.get("state", "completed"))
    if state not in _UNFINISHED:
        return ""
    words = {
        "planned": "This run has not begun.",
        "running": "This run is still going on.",
        "paused": "This run is paused.",
    }[state]
    reason = f" {run['reason']}." if run.get("reason") else ""
    counts = run.get("counts")
    decided = ""
    if isinstance(counts, Mapping) and isinstance(counts.get("total"), int):
        done = sum(
            int(counts.get(name) or 0)
            for name in ("done", "rejected", "failed", "quarantined", "cancelled")
        )
        decided = f" {done:,} of {counts['total']:,} items were decided"
        at = str(run.get("finished_at") or "")[:19].replace("T", " ")
        decided += f" when this page was written, {at} UTC." if at else "."
    return f"{words}{reason}{decided}"


def _facts(run: Mapping[str, Any]) -> dict[str, list[str]]:
    """What was run, by short names; only what the record tells."""
    settings = _settings(run)
    is_generated = bool(settings.get("count"))
    gates = [
        f"{name.replace('_', ' ')} {settings[name]:g}"
        for name in ("max_leakage", "max_reconstruction", "max_uncertainty", "min_success")
        if isinstance(settings.get(name), int | float)
    ]
    if gates and settings.get("refine_auto"):
        gates.append("refine what leaks")
    facts = {
        "class": run.get("class"),
        "edits": _typed(run),
        "mode": settings.get("mode"),
        "embedding": None if is_generated else settings.get("embed"),
        "fit": None if is_generated else settings.get("fit"),
        "samples": f"{settings['count']:,} of seed {settings.get('seed')}"
        if is_generated
        else None,
        "composite": settings.get("composite"),
        "gates": (gates or "none") if settings else None,
        "output": settings.get("output"),
        "format": settings.get("image_format"),
        "to": run.get("output_folder"),
        "began": _time(run.get("started_at")),
        "engine": run.get("engine_version"),
    }
    return {
        name: value if isinstance(value, list) else [str(value)]
        for name, value in facts.items()
        if value
    }


def _typed(run: Mapping[str, Any]) -> list[str]:
    """The edits as they were asked for."""
    request = run.get("request")
    request = request if isinstance(request, Mapping) else {}
    edits = [
        f"{edit.get('vector')}={','.join(map(_scale, edit.get('scales') or []))}"
        for edit in request.get("edits") or []
        if isinstance(edit, Mapping)
    ]
    if written := len(request.get("recipes") or []):
        edits.append(f"{written} recipes of a file")
    return edits


def _scale(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _time(value: Any) -> str:
    return f"{value[:16].replace('T', ' ')} UTC" if isinstance(value, str) else ""


def _tiles(run: Mapping[str, Any], tally: RunTally) -> dict[str, str]:
    """Counts in a fixed order; states without items are left out, except the two that matter."""
    counts = run.get("counts")
    known = {
        str(name): value
        for name, value in (counts.items() if isinstance(counts, Mapping) else ())
        if isinstance(value, int)
    }
    images = tally.state("done")
    tiles = {"images": f"{images:,}"}
    for name in ("inputs", "rejected", "failed", "quarantined", "cancelled"):
        count = known.get(name) or tally.state(name)
        if count or name in ("rejected", "failed"):
            tiles[name] = f"{count:,}"
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
