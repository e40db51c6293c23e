"""The command `demo`: the whole story in one folder."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import click

from editvec.batch.cli.execution import EXIT_WITH_FAILURES
from editvec.batch.cli.options import DEVICE
from editvec.batch.cli.output import JSON, note, stage_progress


@click.command()
@click.argument(
    "out", default="editvec-demo", type=click.Path(file_okay=False, path_type=Path), metavar="[OUT]"
)
@DEVICE
@JSON
@click.pass_context
def demo(ctx: click.Context, *, out: Path, device: str | None, as_json: bool) -> None:
    """Show everything once, in a few minutes, in a folder of its own: OUT.

    Installs the shipped class and its vectors, makes a folder of photographs, learns a vector
    from one edited mask, composes two, and edits the folder. With no --home, the library of the
    demo is OUT/home.
    """
    from editvec.batch.demo import run_demo
    from editvec.registry.config import RegistryConfig

    home: Path | None = ctx.obj["home"]
    if home is None:
        config = RegistryConfig.for_home(out / "home")
    else:
        config = RegistryConfig.from_environment(home)
    outcome = run_demo(
        config,
        out,
        device=device,
        say=note if as_json else click.echo,
        on_progress=stage_progress("demo"),
    )
    if as_json:
        found = {"output_folder": str(out)} | outcome._asdict()
        del found["out"]
        click.echo(json.dumps(found, indent=2))
        ctx.exit(EXIT_WITH_FAILURES if outcome.with_failures else 0)
    command = f"{_program()} --home {shlex.quote(str(home or out / 'home'))}"
    click.echo("")
    for line in outcome.closing_lines(command):
        click.echo(line)
    if outcome.with_failures:
        ctx.exit(EXIT_WITH_FAILURES)


def _program() -> str:
    """What to type to call this program from here."""
    called = Path(sys.argv[0])
    if called.name == "editvec" and shutil.which("editvec") is None:
        return shlex.quote(str(called))
    return "editvec"
