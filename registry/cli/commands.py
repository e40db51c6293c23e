"""Command groups `registry`, `model`, `mask` and `db`: thin twins of the library's functions."""

from __future__ import annotations

import click

import registry.cli.add
import registry.cli.compose
import registry.cli.list
import registry.cli.maintain
import registry.cli.names
import registry.cli.share
import registry.cli.show
from registry.cli.completion import completion
from registry.cli.mask import mask
from registry.cli.model import db, model
from registry.cli.options import registry as registry_group

# importing these attaches their commands to the group
PARTS = (
    registry.cli.add,
    registry.cli.compose,
    registry.cli.list,
    registry.cli.show,
    registry.cli.maintain,
    registry.cli.names,
    registry.cli.share,
)
COMMANDS: list[click.Command] = [registry_group, model, mask, db, completion]
