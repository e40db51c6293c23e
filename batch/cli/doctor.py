"""The command `doctor`: is this installation fit to work?"""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Check the installation and the library, and say what is missing for which feature.

    Changes nothing.

    Exit status 1 if something is broken.
    """
    from editvec.batch.doctor import State, examine
    from editvec.printing import one_line
    from editvec.registry.config import RegistryConfig

    findings = examine(RegistryConfig.from_environment(ctx.obj["home"]))
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.part) for finding in findings)
        for finding in findings:
            click.echo(one_line(f"{finding.state:8} {finding.part:{width}}  {finding.text}"))
    if any(finding.state is State.PROBLEM for finding in findings):
        ctx.exit(1)
