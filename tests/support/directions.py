"""Finding directions of class `tiny`, whose classifier knows nothing until it is balanced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from editvec.batch.discovery.discover import discover
from editvec.batch.discovery.labels import Population
from editvec.batch.discovery.request import DiscoverRequest
from editvec.engine.editor import Editor
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.library.library import Library

Find = Callable[..., list[EditingVector]]


def balanced_editor(library: Library) -> Editor:
    """Class `tiny`; its classifier sees every attribute in about half of the samples."""
    opened = Editor.open(library.materialise_bundle(library.get_class("tiny")))
    assert opened.classifier is not None
    middle = logits(opened, opened.sample(64, 0)).quantile(0.5, dim=0)
    with torch.no_grad():
        opened.classifier.body.outputs.bias -= middle
    return opened


def finder(library: Library, editor: Editor) -> Find:
    """Finds directions of class `tiny`, on few samples."""

    def run(
        name: str, method: str, *, population: Population | None = None, **chosen: Any
    ) -> list[EditingVector]:
        settings = {"samples": 64, "probes": 0} | chosen
        request = DiscoverRequest("tiny", name, method, **settings)
        return discover(library, request, editor=editor, population=population)

    return run


def logits(editor: Editor, ws: Tensor) -> Tensor:
    """What the classifier says of the pictures of ws, [N, A]."""
    assert editor.classifier is not None
    with torch.inference_mode():
        return editor.classifier(editor.synthesize(ws).clamp(-1, 1))


def labels_by_number(words: Sequence[str]) -> str:
    """A CSV file that labels the first samples as `pink` or not."""
    return "sample,pink\n" + "".join(f"{place},{word}\n" for place, word in enumerate(words))
