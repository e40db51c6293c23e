"""What a person opens after a run that makes images, or during it: a contact sheet and a page."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from editvec.batch.recipes.recipe import Edit, PinnedVector
from editvec.batch.recipes.settings import OutputSize, RunSettings
from editvec.batch.reports.charts import Chart, RowName, chart
from editvec.batch.reports.contact_sheet import (
    Section,
    describe_terms,
    draw_contact_sheet,
    number_text,
    scale_text,
)
from editvec.batch.reports.metrics import in_order, metric_of
from editvec.batch.reports.page import (
    MAX_REASONS,
    Reason,
    ReportFiles,
    ReportRun,
    subtitle_of,
    title_of,
    write_file,
    write_page,
)
from editvec.batch.reports.pictures import Row, Sample, SampleReader, ShownTerm
from editvec.batch.reports.rendering import Figure, exact_picture, photograph
from editvec.batch.reports.tally import (
    Lowest,
    ReasonTally,
    RunTally,
    leakage_of,
    success_of,
)
from editvec.batch.runs.plan import RunPlan
from editvec.registry.drawing import png_bytes

SAMPLES_PER_RECIPE = 9
# images of all recipes together; of more recipes than that, later ones show none
MAX_SAMPLES = 96
MIN_SAMPLES_PER_RECIPE = 2
# of the images on the page; the rest of it comes to some hundred kilobytes
MAX_BYTES = 4_000_000
MAX_COMBINATIONS = 32
_PICTURED_REASONS = 8
# more than the width at which the page shows a picture
_PICTURE_SIDE = 192
_MEASURES_SHOWN = 3
_MOST_LINES = 6

Complete = Callable[[Row], Row]
# images of a recipe by their heading; those that are spread over the run have none
Samples = Mapping[str, Sequence[Sample]]
Figures = Mapping[str, Sequence[Figure]]


def write_report(
    run: ReportRun, rows: Iterable[Row], *, complete: Complete = lambda row: row
) -> ReportFiles:
    """Write `contact_sheet.png` and `report.html` into a run's output folder.

    Images that are missing or unreadable leave a gap; they do not stop the report. Memory does not
    grow with the number of rows.

    Args:
        run: The run; it may go on.
        rows: Rows of `metadata.jsonl`, and rows of the same form of items without an image, with
            `state` and `reason`; read once.
        complete: Makes a row whole that was chosen to be shown.

    Returns:
        The two files, and the numbers.

    Raises:
        DiskFullError: No space is left for them.
    """
    record, plan = run.record, run.record.plan
    tally = RunTally(samples_per_recipe=SAMPLES_PER_RECIPE)
    tally.add_all(rows)
    _name_terms(tally, plan)
    reader = _PictureReader(plan, complete)
    shown = reader.shown(tally)
    sections = [Section(one, shown.get(one.name, {}).get("", ())) for one in tally.shown_recipes]
    sheet = draw_contact_sheet(title_of(record), subtitle_of(record), sections)
    contact_sheet = plan.output_folder / "contact_sheet.png"
    write_file(contact_sheet, png_bytes(sheet))
    anchors = {one.name: f"recipe-{number}" for number, one in enumerate(tally.shown_recipes)}
    found = write_page(
        "reports/templates/images.html",
        run,
        tally,
        names={
            name: RowName(describe_terms(name, recipe.terms), anchors.get(name, ""))
            for name, recipe in tally.recipes.items()
        },
        reasons=reader.reasons(tally),
        edits=_typed(plan),
        vectors=_vectors(plan),
        gates=_gates(plan.settings),
        states=[one for one in ("rejected", "failed", "quarantined") if tally.state(one)],
        medians=_medians(tally),
        figures=_figures(tally, shown),
        labels=run.model.labels,
        spreads=_spreads(tally),
        most_combinations=MAX_COMBINATIONS,
    )
    return found._replace(contact_sheet=contact_sheet)


# --- pictures ---


class _PictureReader:
    """Reads the pictures of the rows that are shown."""

    def __init__(self, plan: RunPlan, complete: Complete) -> None:
        settings = plan.settings
        is_around_boxes = settings.boxes and settings.output_size is not OutputSize.ORIGINAL
        self._complete = complete
        self._reader = SampleReader(
            plan.output_folder,
            inputs_root=plan.input_folder or plan.output_folder,
            side=_PICTURE_SIDE,
            fit=settings.fit.value,
            is_lossless=settings.parsed_format.quality is None,
            box_margin=settings.box_margin if is_around_boxes else None,
        )

    def shown(self, tally: RunTally) -> dict[str, Samples]:
        """The images of each recipe: some of all of them, and those at the ends of measures."""
        recipes = tally.shown_recipes[: MAX_SAMPLES // MIN_SAMPLES_PER_RECIPE]
        each = max(MIN_SAMPLES_PER_RECIPE, MAX_SAMPLES // max(1, len(tally.shown_recipes)))
        each = min(SAMPLES_PER_RECIPE, each)
        made: dict[str, Samples] = {}
        for recipe in recipes:
            spread = sorted(map(self._complete, recipe.spread.rows(each)), key=_place)
            made[recipe.name] = found = {"": [self._reader.read(row) for row in spread]}
            if each >= SAMPLES_PER_RECIPE and recipe.count > recipe.spread.size:
                found |= self._ends(
                    leakage_of,
                    ("Most changed outside the region", recipe.worst),
                    ("Least changed outside the region", recipe.best),
                )
                found |= self._ends(
                    success_of,
                    ("Furthest from the wanted mask", recipe.missed),
                    ("Closest to the wanted mask", recipe.met),
                )
        return made

    def _ends(
        self, value_of: Callable[[Row], float | None], *ends: tuple[str, Lowest]
    ) -> dict[str, list[Sample]]:
        """The images at both ends of a measure; none where all of them are alike."""
        rows = {heading: end.rows() for heading, end in ends}
        if len({value_of(found[0]) for found in rows.values() if found}) < 2:
            return {}
        return {
            heading: [self._reader.read(self._complete(row)) for row in found]
            for heading, found in rows.items()
        }

    def reasons(self, tally: RunTally) -> list[Reason]:
        """Why items gave no image, with inputs of some."""
        return [
            self._reason(one) if number < _PICTURED_REASONS else Reason(one)
            for number, one in enumerate(tally.reasons()[:MAX_REASONS])
        ]

    def _reason(self, tally: ReasonTally) -> Reason:
        rows: dict[str, Row] = {}
        for row in map(self._complete, tally.examples.rows()):
            rows.setdefault(str(row.get("source")), row)
        examples, unread = [], []
        for row in rows.values():
            sample = self._reader.read(row)
            if sample.before is None:
                unread.append(sample.source)
            else:
                picture = photograph(sample.before, "before", f"input {sample.source}")
                words = str(row.get("reason") or "")
                examples.append(Figure(_file_name(sample), sample.source, [picture], [words]))
        return Reason(tally, examples, unread)


def _place(row: Row) -> tuple[int, str]:
    return int(row.get("position") or 0), str(row.get("source"))


def _figures(tally: RunTally, shown: Mapping[str, Samples]) -> dict[str, Figures]:
    """The images of the recipes; as many as the page can hold."""
    made: dict[str, Figures] = {}
    used = largest = 0
    for recipe in tally.shown_recipes:
        samples = shown.get(recipe.name, {}) if used + largest < MAX_BYTES else {}
        with_scales = any(isinstance(term.scale, str) for term in recipe.terms)
        made[recipe.name] = {
            heading: [_figure(sample, with_scales=with_scales) for sample in some]
            for heading, some in samples.items()
        }
        figures = [figure for some in made[recipe.name].values() for figure in some]
        size = sum(len(picture.data) for figure in figures for picture in figure.pictures)
        used, largest = used + size, max(largest, size)
    return made


def _figure(sample: Sample, *, with_scales: bool) -> Figure:
    name, changed = _file_name(sample), sample.changed
    pictures = [
        photograph(sample.before, "before", f"input {name}"),
        photograph(sample.after, "after", f"edited {name}"),
        exact_picture(sample.mask, "mask", f"mask of {name}"),
        photograph(changed and changed.picture, "changed", f"changed pixels of {name}"),
    ]
    lines = [", ".join(map(_short, sample.terms))] if with_scales else []
    if changed is not None:
        lines.append(f"{changed.share:.1%} changed")
    lines += [
        f"{metric_of(key).short} {number_text(sample.metrics[key])}"
        for key in in_order(sample.metrics)
        if not key.endswith("num_steps")
    ]
    return Figure(name, sample.source, pictures, lines[:_MOST_LINES])


def _file_name(sample: Sample) -> str:
    return sample.source.replace("\\", "/").rpartition("/")[2]


def _short(term: ShownTerm) -> str:
    """The vector without its class and version, and the scale that one image got."""
    name = term.address.rpartition("/")[2].partition("@")[0]
    scale = term.scale if isinstance(term.scale, str) else number_text(term.scale)
    return f"{name} × {scale.replace('-', '−')}"


# --- words and numbers ---


def _name_terms(tally: RunTally, plan: RunPlan) -> None:
    """Gives recipes their vectors as asked for: what was drawn for one item says less."""
    for recipe in plan.recipes:
        if recipe.name in tally.recipes:
            tally.recipes[recipe.name].terms = [_term(edit) for edit in recipe.edits]


def _term(edit: Edit) -> ShownTerm:
    scale = edit.scale
    return ShownTerm(edit.vector.term, scale if isinstance(scale, int | float) else str(scale))


def _vectors(plan: RunPlan) -> dict[str, tuple[PinnedVector, list[str]]]:
    """The vectors of the run by their terms, with their scales: numbers, or what draws them."""
    found: dict[str, tuple[PinnedVector, list[str]]] = {}
    for edit in (edit for recipe in plan.recipes for edit in recipe.edits):
        scales = found.setdefault(edit.vector.term, (edit.vector, []))[1]
        if (scale := scale_text(_term(edit))) not in scales:
            scales.append(scale)
    return found


def _medians(tally: RunTally) -> dict[str, str]:
    """The measures that the table of recipes shows, with what they are called."""
    names = in_order(name for recipe in tally.recipes.values() for name in recipe.metrics)
    metrics = {name: metric_of(name) for name in names}
    found = [(name, one.title) for name, one in metrics.items() if not one.is_of_input]
    return dict(found[:_MEASURES_SHOWN])


def _spreads(tally: RunTally) -> dict[str, Chart | None]:
    """The attributes that differ between images: a chart, or None where each scale is listed."""
    return {
        name: None if one.is_listed else chart(name, [(RowName("images"), one.spread)])
        for name, one in tally.attributes.items()
        if not one.spread.is_constant
    }


def _typed(plan: RunPlan) -> list[str]:
    """The edits as they were asked for."""
    edits = [
        f"{edit['vector']}={','.join(map(_scale, edit['scales']))}"
        for edit in plan.request.get("edits", ())
    ]
    if written := len(plan.request.get("recipes", ())):
        edits.append(f"{written} recipes of a file")
    return edits


def _scale(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _gates(settings: RunSettings) -> list[str]:
    gates = [
        f"{name.replace('_', ' ')} {value:g}"
        for name in ("max_leakage", "max_reconstruction", "max_uncertainty", "min_success")
        if (value := getattr(settings, name)) is not None
    ]
    return [*gates, "refine what leaks"] if settings.refine_auto else gates
