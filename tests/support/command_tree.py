"""Every command of the command line."""

from collections.abc import Iterator

import click

import editvec.cli


def commands(
    command: click.Command = editvec.cli.cli, path: str = ""
) -> Iterator[tuple[str, click.Command]]:
    """The commands without those that only hold others, each with its words."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}".strip())
    else:
        yield path, command
