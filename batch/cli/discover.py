"""The group `discover`: finds directions that edit, and stores them as vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.options import DEVICE, options
from editvec.batch.cli.output import JSON, stage_progress
from editvec.registry.cli.completion import complete_parts, complete_tag

if TYPE_CHECKING:
    from editvec.batch.discovery.request import DiscoverRequest
    from editvec.registry.entities.metrics import Metric
    from editvec.registry.entities.vectors import EditingVector

_SHOWN_LOGITS = 5


def _row_range(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """Reads `FIRST:LAST`."""
    if value is None:
        return None
    first, colon, last = value.partition(":")
    if not (colon and first.strip().isdecimal() and last.strip().isdecimal()):
        raise click.BadParameter(f"expected FIRST:LAST, such as 4:9 for rows 4 to 8, got {value!r}")
    return int(first), int(last)


ADDRESS = click.argument("address", metavar="[CLASS/]NAME")
CONDITIONS = click.option(
    "--conditional",
    "conditional",
    multiple=True,
    metavar="ATTRIBUTE",
    help="An attribute that the direction shall not move; repeatable.",
)
LABELS = options(
    click.option(
        "--attribute",
        metavar="NAME",
        help="Whose direction: an output of the class's attribute classifier, or a column of "
        "--labels; `not smiling` for its opposite.",
    ),
    click.option(
        "--labels",
        type=click.Path(exists=True, path_type=Path),
        metavar="FILE|FOLDER",
        help="Instead of the classifier: CSV with the column sample (a number, or the name that "
        "`batch generate` gave) or file_name, and columns of 1, 0 or nothing, one for each "
        "attribute; or a folder of pictures with the folders `with` and `without`.",
    ),
    click.option(
        "--embed",
        default="encoder",
        show_default=True,
        metavar="encoder|steps:N|target:DB",
        help="How pictures of --labels become latents.",
    ),
    click.option(
        "--samples",
        type=click.IntRange(2),
        default=1000,
        show_default=True,
        help="Samples of the class that are classified.",
    ),
)
CHOICE = options(
    click.option(
        "--attribute",
        metavar="NAME",
        help="Store only the direction that moves the classifier's logit of this attribute most, "
        "with its sign. [default: every direction, as NAME-1, NAME-2...]",
    ),
    click.option(
        "--count",
        type=click.IntRange(1),
        metavar="K",
        help="The K strongest directions. [default: 5; with --attribute 10]",
    ),
    click.option(
        "--samples",
        type=click.IntRange(2),
        default=10_000,
        show_default=True,
        help="Samples of w, without pictures.",
    ),
)
STORED = options(
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of samples."
    ),
    click.option(
        "--rows",
        callback=_row_range,
        metavar="FIRST:LAST",
        help="Move rows FIRST to LAST - 1 of ws only. [default: all]",
    ),
    click.option(
        "--roi",
        metavar="PART,...",
        shell_complete=complete_parts,
        help="Parts that the vector may change: what is composited, and outside of which leakage "
        "is measured. [default: all]",
    ),
    click.option(
        "--probes",
        type=click.IntRange(0),
        default=64,
        show_default=True,
        help="Further samples, on which the change of every logit is measured.",
    ),
    click.option("--description", default="", help="What the vector does, for people."),
    click.option("--license", "license_name", default="", help="License of the vector."),
    click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="TAG",
        shell_complete=complete_tag,
        help="A word to find it by; repeatable.",
    ),
    DEVICE,
    JSON,
)


@click.group()
def discover() -> None:
    """Find directions that edit, without a mask, and store each as a vector.

    A vector keeps its method, labels, number of samples and seed, and its measurements. `editvec
    evaluate` measures it like any other vector.
    """


@discover.command()
@ADDRESS
@LABELS
@CONDITIONS
@click.option(
    "--confident",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    metavar="SHARE",
    help="Share of the samples that is taken at each end: those that the classifier is surest of.",
)
@STORED
@click.pass_obj
def interfacegan(obj: dict[str, Any], /, **chosen: Any) -> None:
    """Find the normal of a linear boundary between latents with and without an attribute.

    This trains a linear support vector machine on samples of the class (InterFaceGAN, Shen et al.
    2020). Scale 1 is the distance, across the boundary, between the mean latents without and with
    the attribute.

    \b
    editvec discover interfacegan avatars/smile-svm --attribute smiling --roi mouth,teeth
    editvec discover interfacegan glad --attribute smiling --conditional mouth_open
    """  # noqa: D301 (click reads the backspace)
    _discover(obj, "interfacegan", chosen)


@discover.command()
@ADDRESS
@LABELS
@click.option(
    "--confident",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the samples that is taken at each end: those that the classifier is surest of.",
)
@STORED
@click.pass_obj
def mean(obj: dict[str, Any], /, **chosen: Any) -> None:
    """Take the mean of latents with an attribute minus the mean of those without.

    Scale 1 leads from the mean without the attribute to the mean with it.

    \b
    editvec discover mean avatars/smile-mean --attribute smiling --roi mouth,teeth
    """  # noqa: D301 (click reads the backspace)
    _discover(obj, "mean", chosen)


@discover.command()
@ADDRESS
@CHOICE
@STORED
@click.pass_obj
def sefa(obj: dict[str, Any], /, **chosen: Any) -> None:
    """Find what the generator's own weights amplify most (SeFa, Shen and Zhou 2021).

    Directions are the eigenvectors of A^T A, where A maps w to the styles of the layers that read
    --rows. Scale 1 is one standard deviation of sampled w. No labels are needed; with --attribute,
    the classifier chooses one direction.

    \b
    editvec discover sefa avatars/coarse --rows 0:4 --count 3
    editvec discover sefa avatars/smile-sefa --attribute smiling --count 20
    """  # noqa: D301 (click reads the backspace)
    _discover(obj, "sefa", chosen)


@discover.command()
@ADDRESS
@CHOICE
@STORED
@click.pass_obj
def ganspace(obj: dict[str, Any], /, **chosen: Any) -> None:
    """Find the principal components of sampled w (GANSpace, Harkonen et al. 2020).

    Scale 1 is one standard deviation along the component. No labels are needed; with --attribute,
    the classifier chooses one direction.

    \b
    editvec discover ganspace avatars/pc --count 5
    editvec discover ganspace avatars/smile-pc --attribute smiling --count 20
    """  # noqa: D301 (click reads the backspace)
    _discover(obj, "ganspace", chosen)


def _discover(obj: dict[str, Any], method: str, chosen: dict[str, Any]) -> None:
    """Find, store and show what a command asks for."""
    from editvec.batch.discovery.discover import discover as find
    from editvec.batch.workbench import default_device
    from editvec.registry.config import RegistryConfig
    from editvec.registry.library.library import Library

    request = _request(method, **chosen)
    with Library.open(RegistryConfig.from_environment(obj["home"])) as library:
        device = chosen["device"] or default_device()
        vectors = find(
            library, request, device=device, on_progress=stage_progress(chosen["address"])
        )
    if chosen["as_json"]:
        from editvec.registry.library.records import as_json

        click.echo(json.dumps(as_json(vectors), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(found_text(one) for one in vectors))


def _request(method: str, *, address: str, **chosen: Any) -> DiscoverRequest:
    """The request that the options of a command make."""
    from editvec.batch.discovery.request import DiscoverRequest
    from editvec.registry.addresses import parse_new_address

    wanted = parse_new_address(address)
    parts = [part.strip() for part in (chosen["roi"] or "").split(",")]
    same = ("attribute", "samples", "seed", "rows", "probes", "description")
    own = ("conditional", "labels", "embed", "confident", "count")
    return DiscoverRequest(
        class_name=wanted.class_name,
        name=wanted.name,
        version=wanted.version,
        method=method,
        roi=tuple(part for part in parts if part),
        license=chosen["license_name"],
        tags=tuple(chosen["tags"]),
        **{name: chosen[name] for name in (*same, *own) if name in chosen},
    )


def found_text(vector: EditingVector) -> str:
    """A found vector and how good it looks, a few lines."""
    settings = vector.settings
    metrics = {metric.name: metric for metric in vector.latest_metrics}
    rows = {
        "parts": ", ".join(vector.roi_labels),
        "made from": _origin(settings),
        "boundary": _boundary(metrics),
        "scale 1": f"{settings['step']:.3g} in W, {sum(vector.row_mask)} of {vector.num_ws} rows",
        "logits": _logits(metrics),
    }
    lines = [f"  {name:10} {text}" for name, text in rows.items() if text]
    return "\n".join([vector.address, *lines])


def _origin(settings: Any) -> str:
    """What the direction was made from, in words."""
    seed = f"seed {settings['seed']}"
    if "component" in settings:
        text = (
            f"direction {settings['component']} of {settings['method']}, "
            f"{settings['share']:.1%} of the whole, {settings['samples']} samples, {seed}"
        )
        if "attribute" in settings:
            text += (
                f"; of {settings['tried']} it moves {settings['attribute']} most, "
                f"n={settings['chosen_on']}"
            )
        return text
    text = f"{settings['attribute']}: {settings['with']} with, {settings['without']} without, by "
    text += f"the {settings['labels']}" if "samples" in settings else settings["labels"]
    if "samples" in settings:
        text += f", of {settings['samples']} samples, {seed}"
    if "conditional" in settings:
        text += f"; {settings['kept']:.0%} of it without {', '.join(settings['conditional'])}"
    return text


def _boundary(metrics: dict[str, Metric]) -> str:
    held, other = metrics.get("boundary_accuracy"), metrics.get("boundary_accuracy_all")
    if held is None:
        return ""
    text = f"{held.value:.1%} right of {held.sample_count} held out"
    return text + (f", {other.value:.1%} of all other {other.sample_count}" if other else "")


def _logits(metrics: dict[str, Metric]) -> str:
    """The logits that change most."""
    prefix = "logit_change."
    found = [metric for name, metric in metrics.items() if name.startswith(prefix)]
    if not found:
        return ""
    most = sorted(found, key=lambda metric: -abs(metric.value))[:_SHOWN_LOGITS]
    changes = ", ".join(f"{one.name.removeprefix(prefix)} {one.value:+.2f}" for one in most)
    return f"{changes}, n={found[0].sample_count}"
