"""The command `registry list`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from editvec.registry.cli.completion import (
    Completer,
    complete_address,
    complete_metric,
    complete_parts,
    complete_tag,
)
from editvec.registry.cli.options import (
    KINDS,
    class_option,
    emit,
    json_option,
    opened,
    registry,
    split_names,
)

if TYPE_CHECKING:
    from editvec.registry.entities.queries import VectorQuery
    from editvec.registry.entities.vectors import EditingVector

TABLE_ROWS = 50
SIMILAR_ROWS = 10


def _split_all(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> tuple[str, ...]:
    """Splits each of `mouth,teeth` and `eye` at its commas."""
    return tuple(name for value in values for name in split_names(context, parameter, value))


@registry.command("list")
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_address)
@class_option
@click.option(
    "--roi",
    "roi_labels",
    multiple=True,
    callback=_split_all,
    metavar="PART,...",
    shell_complete=complete_parts,
    help="Only vectors that may change all of these parts; repeatable.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    shell_complete=complete_tag,
    help="Only vectors with this tag; repeatable.",
)
@click.option("--alias", metavar="ALIAS", help="Only vectors that have this alias, such as stable.")
@click.option("--kind", type=click.Choice(KINDS), help="Only vectors of this origin.")
@click.option(
    "--where",
    "bounds",
    multiple=True,
    metavar="BOUND",
    shell_complete=complete_metric,
    help="Only vectors whose metric keeps within, such as 'leakage<0.05'; repeatable.",
)
@click.option(
    "--similar-to",
    metavar="ADDRESS",
    shell_complete=complete_address,
    help="Only vectors that can be compared with this one, the nearest first, by cosine.",
)
@click.option("--latest", "latest_only", is_flag=True, help="Only the newest version of each name.")
@click.option("--retired", "state", flag_value="retired", help="Only retired vectors.")
@click.option("--all", "state", flag_value="all", help="Retired vectors too.")
@click.option(
    "--sort",
    default="name",
    show_default=True,
    metavar="KEY",
    shell_complete=Completer("metric"),
    help="name, created, or a metric: then only vectors that have it.",
)
@click.option("--desc", "descending", is_flag=True, help="The other way round.")
@click.option(
    "--after",
    metavar="ADDRESS",
    shell_complete=complete_address,
    help="Begin behind this vector, the last one of the page before.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"At most so many. [default: {TABLE_ROWS} in a table, else all; {SIMILAR_ROWS} similar "
    "ones]",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.pass_obj
def registry_list(
    obj: dict[str, Any],
    /,
    *,
    similar_to: str | None,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
    **wanted: Any,
) -> None:
    """List vectors; NAME may hold `*` and `?`, and begin with a class: 'avatars/smi*'."""
    from editvec.registry.cli.list_text import listing_text

    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    query = replace(_query(**wanted), limit=limit)
    if similar_to is not None:
        _list_similar(obj, similar_to, query, as_json=as_json, as_csv=as_csv)
        return
    rows = limit or TABLE_ROWS
    with opened(obj) as library:
        if as_json or as_csv:
            _print_for_programs(library.iterate_vectors(query), query, as_csv=as_csv)
            return
        found = library.find_vectors(replace(query, limit=rows + 1))
    shown = found[:rows]
    if shown:
        click.echo(listing_text(shown, metrics=_metrics_of(query)))
    if len(found) > rows:
        click.echo(f"there are more: add --after {shown[-1].address}", err=True)
    elif not shown:
        _say_that_there_is_nothing(query)


def _print_for_programs(
    found: Iterator[EditingVector], query: VectorQuery, *, as_csv: bool
) -> None:
    """Prints CSV or JSON while the vectors are read."""
    from editvec.registry.cli.list_text import csv_rows, json_pieces

    first = next(found, None)
    if first is None:
        _say_that_there_is_nothing(query)
    everything = chain([] if first is None else [first], found)
    pieces = csv_rows(everything, metrics=_metrics_of(query)) if as_csv else json_pieces(everything)
    for piece in pieces:
        sys.stdout.write(piece)  # without the flush of click.echo after each


def _list_similar(
    obj: dict[str, Any], address: str, query: VectorQuery, *, as_json: bool, as_csv: bool
) -> None:
    """Lists what is nearest to a vector."""
    from editvec.registry.cli.list_text import csv_rows, listing_text
    from editvec.registry.library.records import told_json as to_json

    if (query.sort, query.descending, query.after) != ("name", False, None):
        raise click.UsageError(
            "--similar-to lists the nearest first: it goes without --sort, --desc and --after"
        )
    with opened(obj) as library:
        found = library.find_similar(
            address, replace(query, limit=None), limit=query.limit or SIMILAR_ROWS
        )
    vectors = [one.vector for one in found]
    cosines = [one.cosine for one in found]
    metrics = _metrics_of(query)
    if as_csv:
        click.echo("".join(csv_rows(vectors, metrics=metrics, cosines=cosines)), nl=False)
    else:
        records = [{**to_json(one.vector), "cosine": one.cosine} for one in found]
        text = listing_text(vectors, metrics=metrics, cosines=cosines)
        emit(records, lambda _: text, as_json=as_json)
    if not found:
        click.echo(f"no vectors to compare with {address}", err=True)


def _query(
    *,
    name: str | None,
    class_name: str | None,
    bounds: Sequence[str],
    state: str | None,
    **same: Any,
) -> VectorQuery:
    """What the options ask for."""
    from editvec.registry.entities.queries import VectorQuery, parse_bound

    prefix, slash, glob = (name or "").rpartition("/")
    if slash and class_name not in (None, prefix):
        raise click.UsageError(f"{name} and --class {class_name} name two classes")
    return VectorQuery(
        class_name=prefix if slash else class_name,
        name_glob=glob or None,
        bounds=tuple(parse_bound(bound) for bound in bounds),
        retired={None: False, "retired": True, "all": None}[state],
        **same,
    )


def _metrics_of(query: VectorQuery) -> list[str]:
    """The metrics that a listing shows: those that it is sorted by or bounded by."""
    sorted_by = [] if query.sort_metric is None else [query.sort_metric]
    return list(dict.fromkeys([*sorted_by, *(bound.name for bound in query.bounds)]))


def _say_that_there_is_nothing(query: VectorQuery) -> None:
    from editvec.registry.entities.queries import EVERYTHING

    if query.after is not None:
        click.echo("no more vectors", err=True)
        return
    is_filtered = replace(query, sort="name", descending=False, limit=None) != EVERYTHING
    if is_filtered:
        click.echo("no vectors pass these filters", err=True)
        return
    from editvec.registry.bundles.shipped import shipped_bundles

    ways = [f"`editvec model add {name}` adds some" for name in shipped_bundles()]
    click.echo(f"no vectors; {', '.join(['`editvec learn` makes one', *ways])}", err=True)
