"""The command `learn`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.execution import execution_of, have_done
from editvec.batch.cli.options import CLASS, DEVICE, EMBEDDINGS, WORKERS
from editvec.batch.cli.output import JSON, note, open_library, stage_progress
from editvec.batch.cli.settings import setting_option, take
from editvec.batch.learning.request import LearnRequest, LearnSettings
from editvec.outputs import output_file, overwrite_option
from editvec.registry.cli.completion import complete_parts, complete_tag

if TYPE_CHECKING:
    from editvec.batch.learning.learn import LearnedVector

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


# options that are about one picture
_OF_ONE = ("image", "mask_after", "operation", "roi_labels", "picture")


@click.command()
@click.argument("address", required=False, metavar="[CLASS/NAME]")
@setting_option(LearnRequest, "image", type=FILE)
@setting_option(LearnRequest, "mask_after", type=FILE)
@setting_option(LearnRequest, "mask_before", type=FILE)
@setting_option(LearnRequest, "operation", metavar="TEXT")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=output_file,
    metavar="PNG",
    help="Draw what was asked for here: the picture, the mask before and after.",
)
@overwrite_option
@setting_option(
    LearnRequest, "roi_labels", "--roi", metavar="PART,...", shell_complete=complete_parts
)
@setting_option(LearnSettings, "num_steps", "--steps")
@setting_option(LearnSettings, "embed", metavar=EMBEDDINGS)
@setting_option(LearnSettings, "preset")
@setting_option(LearnSettings, "trunk")
@setting_option(LearnSettings, "dilation")
@setting_option(LearnRequest, "accept_failure")
@setting_option(LearnRequest, "description")
@setting_option(LearnRequest, "license")
@setting_option(
    LearnRequest, "tags", "--tag", multiple=True, metavar="TAG", shell_complete=complete_tag
)
@click.option(
    "--lessons",
    metavar="LIST|FOLDER",
    type=click.Path(exists=True, path_type=Path),
    help="Learn every pair of a JSON list, or of a folder with NAME.png, NAME.edited.png and, to "
    "find the parts, NAME.mask.png, as one run; --steps, --embed, --preset, --trunk and "
    "--dilation hold for pairs that do not say, --accept-failure for all.",
)
@CLASS
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the report about the run goes. [default: a folder in the home folder]",
)
@DEVICE
@WORKERS
@JSON
@click.pass_context
def learn(
    ctx: click.Context,
    /,
    *,
    address: str | None,
    lessons: Path | None,
    device: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn an editing vector from one picture and its edited part mask.

    The picture is embedded, the edit is learned and measured, and the vector is stored with its
    mask pair and its metrics. If a picture is not square, its middle square is taken.

    With --lessons, or with --workers celery, it is a run like those of `editvec batch`: it
    survives a kill, and the same command continues it. A vector that was learned from the same
    files with the same settings is not learned again.
    """
    if (address is None) == (lessons is None):
        raise click.UsageError("give either CLASS/NAME with its files, or --lessons LIST")
    asked = [name for name in _OF_ONE if options[name]]
    if address is not None and not ("image" in asked and {"mask_after", "operation"} & {*asked}):
        raise click.UsageError("--image and --mask-after (or --operation) are needed")
    if options["mask_after"] and options["operation"]:
        raise click.UsageError("give either --mask-after or --operation")
    if options["picture"] and options["workers"] != "local":
        raise click.UsageError("--picture is drawn here; workers draw none")
    if lessons is not None and asked:
        raise click.UsageError("--lessons has pictures, masks and parts of its own")

    execution_of(options | {"device": device})
    if lessons is not None or options["workers"] != "local":
        request = None if address is None else _request(address, **options)
        _learn_in_run(ctx, lessons, request, options | {"device": device, "as_json": as_json})
        return
    outcome = _learn(ctx, _request(str(address), **options), options | {"device": device})
    if as_json:
        click.echo(json.dumps(_learned_json(outcome), indent=2))
    else:
        click.echo(_learned_text(outcome))


def _learn_in_run(
    ctx: click.Context,
    lessons: Path | None,
    request: LearnRequest | None,
    options: dict[str, Any],
) -> None:
    """Learn every pair of a list or folder, or one that workers are to learn, as a run."""
    from editvec.batch.learning.jobs import Jobs, read_jobs
    from editvec.batch.use_cases import learn_all

    if request is None:
        assert lessons is not None
        jobs = read_jobs(lessons, defaults=_settings(**options))
        if options["accept_failure"]:
            accepting = [replace(one, accept_failure=True) for one in jobs.requests]
            jobs = jobs._replace(requests=accepting)
    else:
        jobs = Jobs(Path.cwd(), [request.below(Path.cwd())], [])
    have_done(
        ctx,
        options,
        lambda library, execution, watcher: learn_all(
            library,
            jobs,
            class_name=options["class_name"],
            target=options["output"],
            execution=execution,
            watcher=watcher,
        ),
    )


def _request(address: str, **options: Any) -> LearnRequest:
    """The request that the options of one `learn` make."""
    settings = _settings(**options)
    return LearnRequest(address=address, **take(LearnRequest, options), settings=settings)


def _settings(**options: Any) -> LearnSettings:
    return LearnSettings(**take(LearnSettings, options))


def _learn(ctx: click.Context, request: LearnRequest, options: dict[str, Any]) -> LearnedVector:
    """Learn one vector here and now, and draw what it was learned from."""
    from editvec.batch.use_cases import learn as learn_one
    from editvec.registry.library.pictures import picture_of_pairs

    _, library = open_library(ctx)
    with library:
        outcome = learn_one(
            library,
            request,
            device=options["device"],
            on_progress=stage_progress(request.address),
            on_note=note,
        )
        if options["picture"] is not None:
            options["picture"].write(picture_of_pairs(library, outcome.vector))
            click.echo(f"{options['picture']}: the mask pair of {outcome.vector.address}", err=True)
    return outcome


def _learned_text(outcome: LearnedVector) -> str:
    """A short table of what was learned and measured."""
    learned = outcome.learned
    value = {name: metric.value for name, metric in learned.metrics.items()}

    def error(what: str) -> str:
        """PSNR and, where there is a network for it, the perceptual distance by its name."""
        perceptual = learned.metrics.get(f"{what}_perceptual")
        distance = f", {perceptual.backbone} {perceptual.value:.3g}" if perceptual else ""
        return f"{value[f'{what}_psnr']:.1f} dB{distance}"

    edited, unedited = value["success_iou"], value["success_iou_unedited"]
    rows = {
        "parts": ", ".join(outcome.vector.roi_labels),
        "success": f"IoU {edited:.3f} in the ROI, {unedited:.3f} before the edit",
        "leakage": f"{error('leakage')}, outside the ROI against the reconstruction",
        "reconstruction": f"{error('reconstruction')}, of the picture",
        "learned": f"{learned.num_steps} steps in {learned.seconds:.1f} s on {learned.device}, "
        f"embedded in {learned.embed_seconds:.1f} s, n=1",
    }
    lines = [f"  {name:15} {text}" for name, text in rows.items()]
    return "\n".join([outcome.vector.address, *lines])


def _learned_json(outcome: LearnedVector) -> dict[str, Any]:
    vector, learned = outcome
    return {
        "address": vector.address,
        "class": vector.class_name,
        "name": vector.name,
        "version": vector.version,
        "delta_digest": vector.delta_digest,
        "generator_digest": vector.generator_digest,
        "roi_labels": list(vector.roi_labels),
        "dilation": vector.dilation,
        "metrics": {
            name: {
                "value": metric.value,
                "backbone": metric.backbone,
                "sample_count": metric.sample_count,
            }
            for name, metric in learned.metrics.items()
        },
        "num_steps": learned.num_steps,
        "seconds": round(learned.seconds, 3),
        "embed_seconds": round(learned.embed_seconds, 3),
        "device": learned.device,
        "settings": dict(vector.settings),
    }
