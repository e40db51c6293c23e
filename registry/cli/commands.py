"""Command groups `registry`, `model`, `mask` and `db`: thin twins of the library's functions."""

from __future__ import annotations

import click

import editvec.registry.cli.add
import editvec.registry.cli.compose
import editvec.registry.cli.list
import editvec.registry.cli.maintain
import editvec.registry.cli.names
import editvec.registry.cli.share
import editvec.registry.cli.show
from editvec.registry.cli.completion import completion
from editvec.registry.cli.mask import mask
from editvec.registry.cli.model import db, model
from editvec.registry.cli.options import registry as registry_group

# importing these attaches their commands to the group
PARTS = (
    editvec.registry.cli.add,
    editvec.registry.cli.compose,
    editvec.registry.cli.list,
    editvec.registry.cli.show,
    editvec.registry.cli.maintain,
    editvec.registry.cli.names,
    editvec.registry.cli.share,
)
COMMANDS: list[click.Command] = [registry_group, model, mask, db, completion]
