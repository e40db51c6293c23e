"""Targets of an edit that come from outside its result: masks to reach, attributes to bring about.

A mask that is read off the result would prove every edit a success. So a target mask is an
operation on the image's own mask before the edit, or the renderer's mask. Attributes are judged by
a classifier that has no part in the edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from editvec.batch.classes.shipped import judge_of
from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.engine.editor import Editor
from editvec.engine.images.images import resize_mask
from editvec.registry.entities.classes import ClassModel
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import MaskError
from editvec.registry.labels.scheme import LabelScheme
from editvec.registry.library.contents import scheme_of_class
from editvec.registry.library.library import Library
from editvec.registry.masks.operation_text import parse_edits
from editvec.registry.masks.operations import MaskEdit, edit_mask
from editvec.registry.masks.sources import read_any_mask

_NOT = "not "


class WantedAttribute(NamedTuple):
    """What the classifier shall see after the edit.

    Attributes:
        name: of the attribute.
        column: of the classifier's outputs.
        sign: 1 where it shall be there, -1 where it shall be gone.
    """

    name: str
    column: int
    sign: int

    def __str__(self) -> str:
        return self.name if self.sign > 0 else f"{_NOT}{self.name}"


class MaskTarget(NamedTuple):
    """The operation that makes the wanted mask of an image's own.

    Attributes:
        text: as typed.
        edits: parsed.
        scheme: of the class.
        resolution: of the masks.
    """

    text: str
    edits: Sequence[MaskEdit]
    scheme: LabelScheme
    resolution: int

    def of(self, masks: Tensor) -> tuple[Tensor, list[bool]]:
        """The wanted masks [N, H, W] of masks, and for which of them there is one."""
        wanted, has_one = [], []
        for mask in masks.cpu().numpy().astype(np.int32):
            try:
                made = edit_mask(mask, self.edits, self.scheme, read_other=self._read)
            except MaskError:  # the part is not there, or nothing of it is left
                made = mask
            wanted.append(made)
            has_one.append(bool((made != mask).any()))
        return torch.as_tensor(np.stack(wanted), device=masks.device).long(), has_one

    def _read(self, path: Path) -> Any:
        return resize_mask(read_any_mask(path, self.scheme), self.resolution)


def attribute_of(
    editor: Editor, vector: EditingVector, settings: EvaluateSettings
) -> WantedAttribute | str:
    """The attribute that an edit is judged by, or why there is none.

    Raises:
        SettingsError: an attribute was asked for that the classifier does not know.
    """
    asked = settings.attribute
    if asked is None and editor.classifier is not None:
        asked = _found_for(vector, editor.classifier.names)
    judge = judge_of(vector.class_name)
    if asked is None and judge is not None:
        asked = judge.expected_attribute(vector.name)
    if editor.classifier is None:
        if settings.attribute:
            raise SettingsError(f"attribute: class {vector.class_name} has no classifier")
        return f"class {vector.class_name} has no attribute classifier"
    names = list(editor.classifier.names)
    if not asked:
        return (
            "nobody said which attribute the vector is for: --attribute with one of "
            f"{', '.join(names)}, or `not` and one of them"
        )
    name = asked.removeprefix(_NOT).strip()
    if name not in names:
        raise SettingsError(f"attribute: expected one of {', '.join(names)}, got {name!r}")
    return WantedAttribute(name, names.index(name), -1 if asked.startswith(_NOT) else 1)


def _found_for(vector: EditingVector, known: Sequence[str]) -> str | None:
    """The attribute that a direction was found for, where the classifier knows it."""
    attribute = str(vector.settings.get("attribute", ""))
    return attribute if attribute.removeprefix(_NOT).strip() in known else None


def mask_target_of(
    library: Library, model: ClassModel, vector: EditingVector, settings: EvaluateSettings
) -> MaskTarget | str:
    """The operation that an edit is judged by, or why there is none."""
    operation = settings.operation
    if settings.masks is not None:
        return "the masks come from a folder"
    if operation is None:
        operation = str(vector.settings.get("operation") or "")
    if not operation:
        more = ""
        judge = judge_of(vector.class_name)
        if judge is not None and judge.can_render(vector.name):
            more = "; or --renders N, which the renderer has exact masks of"
        return (
            "nobody said what the mask of another image should become: --operation "
            f"'PARTS: ...' as in `mask edit`; or --masks DIR, with the pictures of --probe{more}"
        )
    scheme = scheme_of_class(library, model)
    return MaskTarget(operation, parse_edits(operation), scheme, model.resolution)
