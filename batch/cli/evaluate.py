"""The command `evaluate`: how good vectors are, on images that they were not learned from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.execution import execution_of, have_done
from editvec.batch.cli.options import (
    CLASS,
    DEVICE,
    PROBE,
    PROBE_EMBED,
    PROBE_SEED,
    WORKERS,
    page_option,
)
from editvec.batch.cli.output import JSON, note, open_library
from editvec.batch.cli.settings import setting_option, take
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.outputs import OutputFile
from editvec.registry.cli.completion import complete_address

if TYPE_CHECKING:
    from editvec.batch.evaluation.calibration import Calibration
    from editvec.batch.evaluation.evaluate import Evaluation
    from editvec.batch.evaluation.table import Measure

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("address", required=False, shell_complete=complete_address)
@PROBE
@setting_option(EvaluateSettings, "masks", type=FOLDER, metavar="DIR")
@setting_option(EvaluateSettings, "reference", type=FOLDER, metavar="DIR")
@setting_option(EvaluateSettings, "samples", is_asked=False, when=", without --probe and --renders")
@setting_option(EvaluateSettings, "renders", starts_at_one=True, metavar="N")
@PROBE_SEED
@setting_option(EvaluateSettings, "modes", metavar="MODE,...")
@setting_option(EvaluateSettings, "scale")
@setting_option(EvaluateSettings, "scales", metavar="FIRST:LAST:COUNT", callback=None)
@setting_option(EvaluateSettings, "min_leakage_psnr", metavar="DB")
@setting_option(EvaluateSettings, "max_leakage", metavar="D")
@setting_option(EvaluateSettings, "max_reconstruction", metavar="D")
@PROBE_EMBED
@setting_option(EvaluateSettings, "operation", metavar="TEXT")
@setting_option(EvaluateSettings, "attribute", metavar="NAME")
@setting_option(EvaluateSettings, "inception", type=FILE, metavar="FILE")
@page_option("Write a page: measures, curves, and the best and worst images.")
@click.option("--all", "is_all", is_flag=True, help="Evaluate every vector of the class.")
@CLASS
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=FOLDER,
    help="Of --all, or with --workers celery: where the report and the vectors' pages go. "
    "[default: a folder in the home folder]",
)
@DEVICE
@WORKERS
@JSON
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    *,
    address: str | None,
    is_all: bool,
    page: OutputFile | None,
    **options: Any,
) -> None:
    """Measure the vector at ADDRESS on images, and store the metrics with it.

    Success is judged by something that has no part in the edit: an operation on the image's own
    mask, an attribute classifier, or the renderer's masks. If something cannot be measured, the
    command says what is missing for it.

    With --all, or with --workers celery, it is a run like those of `editvec batch`: the same
    command continues it, and nothing is measured twice in the same way.

    \b
    editvec evaluate avatars/smile --samples 64 --modes vector,refine:10
    editvec evaluate avatars/smile --scales -2:2:9 --html smile.html
    editvec evaluate --all --class avatars --workers celery
    """  # noqa: D301 (click reads the backspace)
    if (address is None) != is_all:
        raise click.UsageError("give either ADDRESS or --all")
    execution_of(options)
    settings = settings_of(options)
    if is_all or options["workers"] != "local":
        if page is not None:
            raise click.UsageError(
                "--html is of one vector here; a run writes its pages into --output"
            )
        _evaluate_in_run(ctx, address, settings, options)
        return
    assert address is not None
    found = _evaluate_here(ctx, address, settings, page, options)
    shown = json.dumps(found.to_json(), indent=2) if options["as_json"] else evaluation_text(found)
    click.echo(shown)


def _evaluate_here(
    ctx: click.Context,
    address: str,
    settings: EvaluateSettings,
    page: OutputFile | None,
    options: dict[str, Any],
) -> Evaluation:
    """Measure one vector in this process, and write its page."""
    from editvec.batch.evaluation.page import page_of
    from editvec.batch.use_cases import evaluate as measure
    from editvec.batch.workbench import load_editor

    _, library = open_library(ctx)
    with library:
        found = measure(
            library,
            address,
            settings,
            class_name=options["class_name"],
            device=options["device"],
            on_progress=_progress,
        )
        if page is not None:
            vector = found.vector
            model = library.get_class(f"{vector.class_name}@{vector.class_version}")
            editor = load_editor(library, model, device=options["device"])  # loaded already
            page.write(page_of(found, editor.bundle.labels).encode())
            note(f"page {page}")
    return found


def _evaluate_in_run(
    ctx: click.Context,
    address: str | None,
    settings: EvaluateSettings,
    options: dict[str, Any],
) -> None:
    """Measure one vector or all of a class as a run."""
    from editvec.batch.use_cases import evaluate_all

    have_done(
        ctx,
        options,
        lambda library, execution, watcher: evaluate_all(
            library,
            class_name=options["class_name"],
            address=address,
            settings=settings,
            target=options["output"],
            execution=execution,
            watcher=watcher,
        ),
    )


def settings_of(options: dict[str, Any]) -> EvaluateSettings:
    """The settings that the options make."""
    from editvec.batch.errors import SettingsError
    from editvec.batch.recipes.scales import parse_scales

    given = [name for name in ("probe", "samples", "renders") if options[name]]
    if len(given) > 1:
        raise SettingsError(f"{', '.join(given)}: expected one of them")
    chosen = take(EvaluateSettings, dict(options))
    if "scales" in chosen:
        chosen["scales"] = parse_scales(chosen["scales"])
    return EvaluateSettings(**chosen)


def evaluation_text(found: Evaluation) -> str:
    """The table, and below it what could not be measured."""
    from editvec.registry.text_tables import format_table

    rows = [
        [one.name, _value(one), _interval(one), str(one.count), one.backbone or "", one.against]
        for one in found.table.measures
    ]
    headers = ["metric", "value", "95 % interval", "n", "backbone", "against"]
    title = (
        f"{found.vector.address} at scale {found.measured.scale:g}, {found.settings.probe_set()}"
    )
    lines = [title, format_table(headers, rows)]
    if found.calibration is not None:
        lines += _curve_lines(found.calibration)
    if found.table.missing:
        lines.append("not measured:")
        lines += [f"  {one.name}: {one.reason}" for one in found.table.missing]
    lines += [f"left out {name}: {reason}" for name, reason in found.measured.skipped.items()]
    if found.unlike_text:
        lines.append(found.unlike_text)
    return "\n".join(lines)


def _curve_lines(found: Calibration) -> list[str]:
    """The curves as a table, and the usable range."""
    from editvec.registry.text_tables import format_table

    def cell(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    rows = [
        [f"{one.scale:g}", cell(one.success, 3), cell(one.leakage, 5), cell(one.leakage_psnr, 1)]
        for one in found.points
    ]
    lines = [format_table(["scale", found.success_name, "leakage", "leakage dB"], rows)]
    if found.usable is not None:
        lines.append(f"usable from {found.usable[0]:g} to {found.usable[1]:g}, n={found.images}")
    return lines


def _value(one: Measure) -> str:
    return f"{one.value:.4g}{' ' if one.unit else ''}{one.unit}"


def _interval(one: Measure) -> str:
    if one.interval is None:
        return ""
    return f"{one.interval.low:.4g} to {one.interval.high:.4g}"


def _progress(done: int, total: int) -> None:
    if done < total:
        note(f"evaluated {done}/{total} images")
