"""Recipes in a YAML file: several variants of every input in one run, each with its own mode.

recipes:
  - name: smiling
    edits: {smile: 1.0, look-left: "-1:1:3"}
  - name: balanced
    edits: {smile: 50%, look-left: uniform}
    mode: refine
    refine_steps: 20
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from editvec.batch.errors import RecipeError
from editvec.batch.recipes.pinning import MAX_RECIPES, EditArgument
from editvec.batch.recipes.scales import parse_asked_scales
from editvec.batch.recipes.settings import MAX_STEPS, Mode
from editvec.json_codec import JsonFields
from editvec.registry.yaml_reading import NodeReader, read_nodes

MAX_FILE_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,99}\Z")
_KEYS = ("name", "edits", "mode", "refine_steps")
_MODES = (Mode.VECTOR, Mode.REFINE)


@dataclass(frozen=True, kw_only=True)
class RecipeArgument(JsonFields):
    """One recipe as it was written.

    Attributes:
        edits: at least one.
        name: folder of its outputs; None = told from the edits. With a sweep, the front of it.
        mode: None = the run's.
        refine_steps: None = the run's.
        line: where it begins in its file, for messages.
    """

    edits: tuple[EditArgument, ...]
    name: str | None = None
    mode: Mode | None = None
    refine_steps: int | None = None
    line: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the plan: all but the line, which nobody asked for."""
        values = super().to_json()
        del values["line"]
        return values


def read_recipes(path: Path) -> list[RecipeArgument]:
    """Reads the recipes of a file.

    Raises:
        RecipeError: the file cannot be read or says something that is none; names the line.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RecipeError(f"recipes {path}: larger than {MAX_FILE_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise RecipeError(f"recipes {path}: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise RecipeError(f"recipes {path}: not UTF-8 text") from exc
    root = read_nodes(text, of=f"recipes {path}", error=RecipeError)
    if root is None:
        raise RecipeError(f"recipes {path}: the file is empty")
    return _RecipeReader(path).recipes(root)


class _RecipeReader(NodeReader):
    """Turns nodes into recipes; every refusal names file and line."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"recipes {path}", RecipeError)

    def recipes(self, root: yaml.Node) -> list[RecipeArgument]:
        """The recipes of a document."""
        fields = dict(self._fields(root, ("recipes",)))
        if "recipes" not in fields:
            raise self._refuse(root, "expected a list under `recipes:`")
        listed = fields["recipes"]
        if not isinstance(listed, yaml.SequenceNode) or not listed.value:
            raise self._refuse(listed, "recipes: expected a list of at least one recipe")
        if len(listed.value) > MAX_RECIPES:
            raise self._refuse(
                listed, f"recipes: expected at most {MAX_RECIPES}, got {len(listed.value)}"
            )
        found = [self._recipe(node) for node in listed.value]
        names: set[str] = set()
        for node, recipe in zip(listed.value, found, strict=True):
            if recipe.name in names:
                raise self._refuse(node, f"name: {recipe.name!r} is given twice")
            names |= set() if recipe.name is None else {recipe.name}
        return found

    def _recipe(self, node: yaml.Node) -> RecipeArgument:
        fields = dict(self._fields(node, _KEYS))
        if "edits" not in fields:
            raise self._refuse(node, "expected `edits:` with at least one vector")
        edits = tuple(
            self._edit(name, value) for name, value in self._fields(fields["edits"], None)
        )
        if not edits:
            raise self._refuse(fields["edits"], "edits: expected at least one vector")
        return RecipeArgument(
            edits=edits,
            name=self._name(fields["name"]) if "name" in fields else None,
            mode=self._mode(fields["mode"]) if "mode" in fields else None,
            refine_steps=self._steps(fields["refine_steps"]) if "refine_steps" in fields else None,
            line=node.start_mark.line + 1,
        )

    def _edit(self, name: str, node: yaml.Node) -> EditArgument:
        value = self._text(node, of=f"scale of {name}")
        try:
            return EditArgument(
                vector=name, scales=parse_asked_scales(value, of=f"{name}: {value}")
            )
        except RecipeError as exc:
            raise self._refuse(node, str(exc)) from exc

    def _name(self, node: yaml.Node) -> str:
        name = self._text(node, of="name")
        if _NAME.match(name) is None:
            raise self._refuse(node, f"name: expected a name that can be a folder, got {name!r}")
        return name

    def _mode(self, node: yaml.Node) -> Mode:
        value = self._text(node, of="mode")
        if value not in _MODES:
            raise self._refuse(node, f"mode: expected {' or '.join(_MODES)}, got {value!r}")
        return Mode(value)

    def _steps(self, node: yaml.Node) -> int:
        value = self._text(node, of="refine_steps")
        if not re.fullmatch(r"[0-9]{1,6}", value) or not 1 <= int(value) <= MAX_STEPS:
            message = f"refine_steps: expected a whole number from 1 to {MAX_STEPS}, got {value!r}"
            raise self._refuse(node, message)
        return int(value)
