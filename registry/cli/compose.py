"""The command that composes vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from editvec.registry.cli.completion import complete_address, complete_parts, complete_term
from editvec.registry.cli.options import (
    class_option,
    description_options,
    emit,
    json_option,
    opened,
    registry,
    split_names,
)


@registry.command("compose")
@click.argument("name")
@click.option(
    "--term",
    "terms",
    multiple=True,
    required=True,
    metavar="NAME=SCALE",
    shell_complete=complete_term,
    help="Summand, such as smile=1, look-left@2=-0.5 or smile[4:9]=0.8 (rows 4 to 8 of ws only).",
)
@click.option(
    "--without",
    "conditions",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_address,
    help="What the sum shall not do, projected out: look-left, or frown[2:5]; repeatable.",
)
@class_option
@click.option(
    "--roi",
    callback=split_names,
    metavar="PART,...",
    shell_complete=complete_parts,
    help="ROI parts. [default: all of the terms']",
)
@click.option("--dry-run", is_flag=True, help="Only report how the terms work together.")
@description_options
@json_option
@click.pass_obj
def registry_compose(
    obj: dict[str, Any],
    *,
    name: str,
    terms: Sequence[str],
    conditions: Sequence[str],
    class_name: str | None,
    roi: list[str],
    dry_run: bool,
    description: str,
    license_name: str,
    tags: Sequence[str],
    reason: str,
    as_json: bool,
) -> None:
    """Store a weighted sum of vectors as NAME, with its terms.

    First a report shows how alike the terms are (cosine), the parts that they share, their scales
    against their usable ranges, and conflicts.
    """
    from editvec.registry.addresses import parse_new_address
    from editvec.registry.cli.compose_text import composition_text
    from editvec.registry.entities.terms import class_named_in, parse_condition, parse_term
    from editvec.registry.library.records import told_json as to_json

    with opened(obj) as library:
        wanted = parse_new_address(name).class_name or class_name
        model = library.get_class(wanted or class_named_in(terms))
        planned = library.plan_composition(
            [parse_term(text, num_ws=model.num_ws) for text in terms],
            conditions=[parse_condition(text, num_ws=model.num_ws) for text in conditions],
            class_name=model.name,
            roi_labels=roi,
        )
        report = composition_text(planned.report)
        if dry_run:
            emit(planned.report, lambda _: f"{report}\nnothing stored (dry run)", as_json=as_json)
            return
        stored = library.add_composition(
            name,
            planned,
            license=license_name,
            description=description,
            tags=tags,
            reason=reason,
        )
    known = "" if stored.is_new else " (the library held it already)"
    record = {**to_json(stored.vector), "is_new": stored.is_new, "report": planned.report}
    emit(record, lambda _: f"{report}\n{stored.vector.address}{known}", as_json=as_json)
