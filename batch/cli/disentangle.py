"""The command `disentangle`: whether vectors disturb each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from editvec.batch.cli.options import CLASS, DEVICE, PROBE, PROBE_EMBED, PROBE_SEED, page_option
from editvec.batch.cli.output import JSON, note, open_library
from editvec.batch.cli.settings import setting_option, take
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.outputs import OutputFile
from editvec.registry.cli.completion import complete_address

if TYPE_CHECKING:
    from editvec.batch.evaluation.pairs.disentangle import AloneEffect, Disentanglement
    from editvec.batch.evaluation.pairs.settings import AskedVector
    from editvec.registry.composition.pair_metrics import Kept
    from editvec.registry.library.library import Library


@click.command()
@click.argument("vectors", nargs=-1, metavar="VECTOR...", shell_complete=complete_address)
@click.option("--all", "is_all", is_flag=True, help="Every vector of the class, newest versions.")
@PROBE
@setting_option(EvaluateSettings, "samples", is_asked=False, when=", without --probe")
@PROBE_SEED
@PROBE_EMBED
@setting_option(
    EvaluateSettings,
    "max_reconstruction",
    metavar="D",
    help="Leave out images beyond this perceptual distance, such as those of another class.",
)
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=ATTRIBUTE",
    help="What the class's own classifier shall see after NAME, or `NAME=not ATTRIBUTE`; "
    "repeatable. [default: what NAME was evaluated for; of a vector of avatars, what its name "
    "says]",
)
@setting_option(
    EvaluateSettings,
    "operation",
    metavar="TEXT",
    help="What shall become of each image's own mask, for vectors without an attribute. [default: "
    "what each was learned from]",
)
@page_option("Write a page: the tables as heat maps, and pictures.")
@CLASS
@DEVICE
@JSON
@click.pass_context
def disentangle(
    ctx: click.Context,
    /,
    *,
    vectors: Sequence[str],
    is_all: bool,
    class_name: str | None,
    device: str | None,
    page: OutputFile | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure how vectors disturb each other: each alone, and every two together.

    VECTOR is an address, or NAME=SCALE for another scale than the vector's own. The tables show how
    far each vector moves each part, how much of its success and of its change is left when another
    one is applied too, and how much two of them change the same pixels. The values are stored with
    the vectors, and `registry compose` reports them.

    \b
    editvec disentangle smile open-mouth close-eyes
    editvec disentangle --all --class avatars --html together.html
    """  # noqa: D301 (click reads the backspace)
    from editvec.batch.errors import SettingsError
    from editvec.batch.evaluation.pairs.settings import AskedVector, PairSettings, with_attributes
    from editvec.batch.use_cases import disentangle as measure

    if bool(vectors) == is_all:
        raise click.UsageError("give either vectors or --all")
    if options["probe"] and options["samples"]:
        raise SettingsError("probe, samples: expected one of them")
    images = EvaluateSettings(**take(EvaluateSettings, options))
    asked = [AskedVector.parse(text) for text in vectors]
    _, library = open_library(ctx)
    with library:
        if is_all:
            asked = _all_of(library, class_name)
        asked = with_attributes(asked, options["attributes"])
        settings = PairSettings(vectors=tuple(asked), images=images)
        found = measure(
            library, settings, class_name=class_name, device=device, on_progress=_progress
        )
    if page is not None:
        _write_page(page, found)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else disentanglement_text(found))


def _all_of(library: Library, class_name: str | None) -> list[AskedVector]:
    from editvec.batch.evaluation.pairs.settings import AskedVector
    from editvec.registry.entities.queries import VectorQuery

    model = library.get_class(class_name)
    query = VectorQuery(class_name=model.name, latest_only=True)
    return [AskedVector(one.address) for one in library.iterate_vectors(query)]


def _write_page(page: OutputFile, found: Disentanglement) -> None:
    from editvec.batch.evaluation.pairs.page import page_of_pairs

    page.write(page_of_pairs(found).encode())
    note(f"page {page}")


def _progress(done: int, total: int) -> None:
    if done < total:
        note(f"measured {done}/{total} images")


# --- text ---


def disentanglement_text(found: Disentanglement) -> str:
    """The tables: vectors by parts, and vectors by vectors."""
    images, count = found.settings.images, len(found.measured.names)
    lines = [f"{images.probe_set()}, n={count}{_reconstruction_text(found)}"]
    if any(one.moved for one in found.alone):
        lines += [
            "",
            "how far each part moves: 1 - IoU before and after (* in the vector's ROI)",
            _parts_table(found),
        ]
    lines += _matrix(
        found,
        "what is left of the row's success beside the column's; on the diagonal, its success alone",
        {(row, row): one.success for row, one in enumerate(found.alone)}
        | {
            (place, pair.places[1 - side]): pair.success[side]
            for pair in found.pairs
            for side, place in enumerate(pair.places)
        },
        last="success",
    )
    lines += _matrix(
        found,
        "what is left of the row's change beside the column's",
        {
            (place, pair.places[1 - side]): pair.change[side]
            for pair in found.pairs
            for side, place in enumerate(pair.places)
        },
    )
    lines += _overlap_lines(found)
    if found.missing:
        lines += ["", "not measured:"]
        lines += [f"  {one.name}: {one.reason}" for one in found.missing]
    lines += [f"left out {name}: {reason}" for name, reason in found.measured.skipped.items()]
    if found.unlike_text:
        lines.append(found.unlike_text)
    return "\n".join(lines)


def _reconstruction_text(found: Disentanglement) -> str:
    import statistics

    psnrs = found.measured.psnr
    return f", reconstructed to {statistics.median(psnrs):.1f} dB" if psnrs else ""


def _parts_table(found: Disentanglement) -> str:
    from editvec.batch.evaluation.pairs.disentangle import shown_parts
    from editvec.registry.text_tables import format_table

    parts = shown_parts(found)

    def cell(one: AloneEffect, part: str) -> str:
        if part not in one.moved:
            return ""
        mark = "*" if part in one.part.vector.roi_labels else ""
        return f"{one.moved[part].value:.2f}{mark}"

    rows = [
        [f"{place} {_name(one)}", *(cell(one, part) for part in parts)]
        for place, one in enumerate(found.alone, start=1)
    ]
    return format_table(["vector", *parts], rows)


def _matrix(
    found: Disentanglement,
    title: str,
    cells: dict[tuple[int, int], Kept | None],
    *,
    last: str = "",
) -> list[str]:
    """A table of vectors by vectors; nothing where every cell is empty."""
    from editvec.registry.text_tables import format_table

    if not any(cells.values()):
        return []

    def text(place: tuple[int, int]) -> str:
        kept = cells.get(place)
        return "" if kept is None else f"{kept.value:.2f}"

    numbers = range(len(found.alone))
    rows = [
        [
            f"{row + 1} {_name(found.alone[row])}",
            *(text((row, column)) for column in numbers),
            *([found.alone[row].purpose] if last else []),
        ]
        for row in numbers
    ]
    headers = ["vector", *(str(number + 1) for number in numbers), *([last] if last else [])]
    return ["", title, format_table(headers, rows)]


def _overlap_lines(found: Disentanglement) -> list[str]:
    from editvec.registry.text_tables import format_table

    rows = [
        [
            _name(found.alone[pair.places[0]]),
            _name(found.alone[pair.places[1]]),
            "" if pair.overlap is None else f"{pair.overlap:.2f}",
            _elsewhere_text(found, pair.places, pair.moved),
        ]
        for pair in found.pairs
    ]
    headers = ["vector", "and", "overlap", "moves most outside both ROIs"]
    title = "overlap of the pixels that each changes alone (Jaccard index)"
    return ["", title, format_table(headers, rows)] if found.pairs[0].moved else []


def _elsewhere_text(found: Disentanglement, places: tuple[int, int], moved: Any) -> str:
    inside = {name for place in places for name in found.alone[place].part.vector.roi_labels}
    elsewhere = {name: one.value for name, one in moved.items() if name not in inside}
    if not elsewhere:
        return ""
    name = max(elsewhere, key=lambda one: elsewhere[one])
    return f"{name} {elsewhere[name]:.2f}"


def _name(one: AloneEffect) -> str:
    address = one.part.vector.address
    is_default = one.part.scale == one.part.vector.default_scale
    return address if is_default else f"{address}={one.part.scale:g}"
