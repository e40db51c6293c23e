"""Command groups `registry`, `model`, `mask` and `db`: thin twins of the library's functions."""

from __future__ import annotations

import click

import registry.cli_add
import registry.cli_compose
import registry.cli_find
import registry.cli_list
import registry.cli_maintain
import registry.cli_names
import registry.cli_share
from registry.cli_completion import completion
from registry.cli_mask import mask
from registry.cli_model import db, model
from registry.cli_options import registry as registry_group

# importing these attaches their commands to the group
PARTS = (
    registry.cli_add,
    registry.cli_compose,
    registry.cli_list,
    registry.cli_find,
    registry.cli_maintain,
    registry.cli_names,
    registry.cli_share,
)
COMMANDS: list[click.Command] = [registry_group, model, mask, db, completion]
