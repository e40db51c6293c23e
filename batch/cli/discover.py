"""The group `discover`: finds directions that edit, and stores them as vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from editvec.batch.cli.options import DEVICE, EMBEDDINGS, options
from editvec.batch.cli.output import JSON, stage_progress
from editvec.batch.cli.settings import setting_option, take
from editvec.batch.discovery.request import CONFIDENT, SAMPLES, DiscoverRequest, Method
from editvec.registry.cli.completion import complete_parts, complete_tag

if TYPE_CHECKING:
    from editvec.registry.entities.metrics import Metric
    from editvec.registry.entities.vectors import EditingVector

_COMMAND = TypeVar("_COMMAND", bound=Callable[..., Any])

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
CONDITIONS = setting_option(DiscoverRequest, "conditional", multiple=True, metavar="ATTRIBUTE")
LABELS = options(
    setting_option(DiscoverRequest, "attribute", metavar="NAME"),
    setting_option(
        DiscoverRequest,
        "labels",
        type=click.Path(exists=True, path_type=Path),
        metavar="FILE|FOLDER",
    ),
    setting_option(DiscoverRequest, "embed", metavar=EMBEDDINGS),
    setting_option(DiscoverRequest, "samples", default=SAMPLES[Method.MEAN], show_default=True),
)
CHOICE = options(
    setting_option(
        DiscoverRequest,
        "attribute",
        metavar="NAME",
        help="Store only the direction that moves the classifier's logit of this attribute most, "
        "with its sign. [default: every direction, as NAME-1, NAME-2...]",
    ),
    setting_option(DiscoverRequest, "count", metavar="K"),
    setting_option(
        DiscoverRequest,
        "samples",
        default=SAMPLES[Method.SEFA],
        show_default=True,
        help="Samples of w, without pictures.",
    ),
)
STORED = options(
    setting_option(DiscoverRequest, "seed"),
    setting_option(DiscoverRequest, "rows", callback=_row_range, metavar="FIRST:LAST"),
    setting_option(DiscoverRequest, "roi", metavar="PART,...", shell_complete=complete_parts),
    setting_option(DiscoverRequest, "probes"),
    setting_option(DiscoverRequest, "description"),
    setting_option(DiscoverRequest, "license"),
    setting_option(
        DiscoverRequest,
        "tags",
        "--tag",
        multiple=True,
        metavar="TAG",
        shell_complete=complete_tag,
    ),
    DEVICE,
    JSON,
)


def _confident(method: Method) -> Callable[[_COMMAND], _COMMAND]:
    """The option --confident of a method."""
    return setting_option(
        DiscoverRequest,
        "confident",
        default=CONFIDENT[method],
        show_default=True,
        metavar="SHARE",
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
@_confident(Method.INTERFACEGAN)
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
@_confident(Method.MEAN)
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
        from editvec.registry.library.records import told_json

        click.echo(json.dumps(told_json(vectors), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(found_text(one) for one in vectors))


def _request(method: str, *, address: str, **chosen: Any) -> DiscoverRequest:
    """The request that the options of a command make."""
    from editvec.registry.addresses import parse_new_address

    wanted = parse_new_address(address)
    return DiscoverRequest(
        class_name=wanted.class_name,
        name=wanted.name,
        version=wanted.version,
        method=method,
        **take(DiscoverRequest, chosen),
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
