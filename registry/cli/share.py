"""Commands that pass vectors on: export, import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from editvec.outputs import OutputFile, output_file, overwrite_option
from editvec.registry.cli.completion import complete_address
from editvec.registry.cli.options import class_option, emit, json_option, opened, registry


@registry.command("export")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), callback=output_file)
@click.argument("names", nargs=-1, required=True, shell_complete=complete_address)
@class_option
@overwrite_option
@json_option
@click.pass_obj
def registry_export(
    obj: dict[str, Any],
    *,
    path: OutputFile,
    names: Sequence[str],
    class_name: str | None,
    as_json: bool,
) -> None:
    """Write the vectors NAMES, and all that belongs to them, to one archive PATH.

    If PATH ends in .safetensors, it becomes a plain file with one vector, which `registry add`
    reads: without mask pairs, metrics and terms.
    """
    from editvec.registry.sharing.annotations import export_vector
    from editvec.registry.sharing.exchange import export_library

    is_plain = path.path.suffix == ".safetensors"
    if is_plain and len(names) > 1:
        raise click.UsageError(
            f"a .safetensors file holds one vector, got {len(names)}; another suffix makes an "
            "archive"
        )
    with opened(obj) as library:
        addresses = [library.get_vector(name, class_name=class_name).address for name in names]
        if is_plain:
            exported = [export_vector(library, path, addresses[0])]
        else:
            exported = export_library(library, path, addresses)
    names_there = [vector.address for vector in exported]
    text = f"{path}: {', '.join(names_there)}"
    emit({"file": str(path), "vectors": names_there}, lambda _: text, as_json=as_json)


@registry.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Verify and report only; write nothing.")
@click.option("--reason", default="", help="Why; kept in the history.")
@json_option
@click.pass_obj
def registry_import(
    obj: dict[str, Any], *, path: Path, dry_run: bool, reason: str, as_json: bool
) -> None:
    """Install all vectors of the archive PATH; if one is refused, none is installed.

    Vectors that the library holds already stay as they are. If another vector has the same version
    number here, the imported one gets the next number. Aliases are not in an archive.
    """
    from editvec.registry.cli.vector_text import imported_text
    from editvec.registry.sharing.exchange import import_library, rehearse_import

    with opened(obj) as library:
        if dry_run:
            imported = rehearse_import(library, path)
        else:
            imported = import_library(library, path, reason=reason)
    emit(imported, imported_text, as_json=as_json)
    if dry_run:
        click.echo("nothing stored (dry run)", err=True)
