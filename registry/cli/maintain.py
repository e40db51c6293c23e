"""Commands that keep a library sound: verify, gc."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from editvec.registry.cli.options import Value, emit, json_option, opened, registry
from editvec.registry.errors import RecordError, VerificationError


def _size(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Reads `10GB`."""
    from editvec.registry.quantities import parse_size

    return None if value is None else _parsed(parse_size, value)


def _time(_context: click.Context, _parameter: click.Parameter, value: str) -> timedelta:
    """Reads `24h`."""
    from editvec.registry.quantities import parse_duration

    return _parsed(parse_duration, value)


def _parsed(parse: Callable[[str], Value], text: str) -> Value:
    """The value of an option, or an error of usage."""
    try:
        return parse(text)
    except RecordError as exc:
        raise click.BadParameter(str(exc)) from exc


@registry.command("verify")
@json_option
@click.pass_obj
def registry_verify(obj: dict[str, Any], *, as_json: bool) -> None:
    """Hash everything that is stored again; exit status 1 if something is wrong."""
    from editvec.registry.cli.maintain_text import verify_text
    from editvec.registry.maintenance.verification import verify

    with opened(obj) as library:
        report = verify(library, on_progress=_progress("verified"))
    emit(report, verify_text, as_json=as_json)
    if report.faults:
        count = len(report.faults)
        raise VerificationError(f"library: {count} {'fault' if count == 1 else 'faults'} found")


@registry.command("gc")
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@click.option(
    "--grace",
    callback=_time,
    default="24h",
    show_default=True,
    metavar="TIME",
    help="Keep what was put within this time, such as 30m, 24h, 7d or 0.",
)
@click.option(
    "--embeddings",
    "embeddings_limit",
    callback=_size,
    metavar="SIZE",
    help="Evict the oldest cached embeddings beyond this size, such as 10GB, 500MiB or 0.",
)
@json_option
@click.pass_obj
def registry_gc(
    obj: dict[str, Any],
    *,
    dry_run: bool,
    grace: timedelta,
    embeddings_limit: int | None,
    as_json: bool,
) -> None:
    """Delete the stored bytes that nothing names any more; safe while others add."""
    from editvec.registry.cli.maintain_text import gc_text
    from editvec.registry.maintenance.garbage import gc

    with opened(obj) as library:
        report = gc(
            library,
            grace=grace,
            dry_run=dry_run,
            embeddings_limit=embeddings_limit,
            on_progress=_progress("deleted"),
        )
    emit(report, gc_text, as_json=as_json)


def _progress(verb: str) -> Callable[[int, int], None] | None:
    """A line on a terminal that tells how far it is."""
    if not sys.stderr.isatty():
        return None
    from editvec.printing import Control

    def show(done: int, total: int) -> None:
        click.echo(Control("\r"), nl=False, err=True)
        click.echo(f"{verb} {done} of {total} blobs", nl=done == total, err=True)

    return show
