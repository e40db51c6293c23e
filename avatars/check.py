"""Measure the shipped bundle on held-out renders: `python -m editvec.avatars.check`.

Two tables: renders in the style that the networks were trained on, and renders in a shifted style
of line and shading that none of them ever saw. Every target comes from outside the result: the
exact masks and facts of the renderer, and the attribute classifier.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from torch import Tensor

from editvec.avatars import default
from editvec.avatars.building.dataset import as_images
from editvec.avatars.drawing import attributes, parameters
from editvec.avatars.drawing.parameters import FloatArray
from editvec.avatars.drawing.render import (
    DEFAULT_STYLE,
    LABELS,
    SHIFTED_STYLE,
    Rendered,
    Style,
    render,
)
from editvec.engine.editing.editing import EditSettings
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.metrics.edits import label_ious, masked_psnr
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.sharing.exchange import import_library

CHECK_SEED = 950_000
BATCH = 50
VECTOR = "avatars/smile"
ATTRIBUTE = "smiling"


class Goal(NamedTuple):
    """One line of a table.

    Attributes:
        name: What was measured.
        value: The figure.
        bound: What it has to reach; None where nothing is promised.
        unit: Unit of both.
        images: Images behind the figure.
    """

    name: str
    value: float
    bound: float | None
    unit: str
    images: int

    @property
    def met(self) -> bool:
        """Whether the bound is reached."""
        return self.bound is None or self.value >= self.bound


class Setting(NamedTuple):
    """How one table is measured.

    Attributes:
        title: Heading of the table.
        style: Style of the renders.
        embed_steps: Steps of inversion after the encoder.
        refine_steps: Steps of refinement after the smile.
        promised: Whether the goals are bounds of this table.
    """

    title: str
    style: Style
    embed_steps: int
    refine_steps: int
    promised: bool


SETTINGS = (
    Setting("held-out renders", DEFAULT_STYLE, 50, 10, promised=True),
    Setting("shifted style", SHIFTED_STYLE, 100, 30, promised=False),
)


def measure(
    editor: Editor, delta: Tensor, roi_labels: tuple[str, ...], setting: Setting, *, count: int
) -> tuple[list[Goal], dict[str, float]]:
    """Measure one table.

    Args:
        editor: The bundle.
        delta: The smile vector, [num_ws, w_dim].
        roi_labels: Its labels.
        setting: Style and steps.
        count: Held-out renders; the smile is measured on 2/5 of them.

    Returns:
        The lines of the table, and the intersection over union of each part.
    """
    params = parameters.sample(count, seed=CHECK_SEED)
    drawn = render(params, editor.bundle.resolution, style=setting.style)
    embedding, ious = _embedding(editor, drawn, setting)
    accuracy = _accuracy(editor, drawn, params)
    smiles = _smile(editor, delta, roi_labels, setting, count=count * 2 // 5)

    def goal(name: str, value: float, bound: float | None, unit: str, number: int) -> Goal:
        return Goal(name, value, bound if setting.promised else None, unit, number)

    known = {name: value for name, value in ious.items() if not np.isnan(value)}
    lines = [
        goal("embedding PSNR, median", embedding.median().item(), 24.0, "dB", count),
        goal("part mIoU after embedding", float(np.mean(list(known.values()))), 0.70, "", count),
        goal("attribute accuracy", accuracy * 100, 97.0, "%", count),
        goal("smile success at scale 1", smiles.success * 100, 85.0, "%", smiles.images),
        goal("PSNR outside the ROI, median", smiles.psnr_outside, 30.0, "dB", smiles.images),
        goal("smile success, refined", smiles.success_refined * 100, 85.0, "%", smiles.images),
        goal("PSNR outside, refined, median", smiles.psnr_refined, 30.0, "dB", smiles.images),
    ]
    return lines, ious


def _embedding(
    editor: Editor, drawn: Rendered, setting: Setting
) -> tuple[Tensor, dict[str, float]]:
    """PSNR [N] of the reconstructions, and the IoU of each part against the exact masks."""
    psnrs, masks = [], []
    for images in _batches(drawn, "embed"):
        embedded = editor.embed(images, EmbedSettings(num_steps=setting.embed_steps))
        psnrs.append(embedded.psnr)
        masks.append(editor.synthesize_with_mask(embedded.ws).mask)
    exact = torch.from_numpy(drawn.mask).long()
    ious = label_ious(torch.cat(masks), exact, num_labels=len(LABELS))
    return torch.cat(psnrs), dict(zip(LABELS, ious.tolist(), strict=True))


def _accuracy(editor: Editor, drawn: Rendered, params: FloatArray) -> float:
    """Share of the attributes that the classifier tells right."""
    assert editor.classifier is not None
    with torch.inference_mode():
        logits = torch.cat([editor.classifier(images) for images in _batches(drawn, "classify")])
    return float(((logits > 0).numpy() == attributes.present(params)).mean())


class _Smiles(NamedTuple):
    """What the smile vector does at scale 1, before and after refinement."""

    images: int
    success: float
    psnr_outside: float
    success_refined: float
    psnr_refined: float


def _smile(
    editor: Editor, delta: Tensor, roi_labels: tuple[str, ...], setting: Setting, *, count: int
) -> _Smiles:
    """Apply the vector to held-out avatars that do not smile."""
    params = _not_smiling(count)
    drawn = render(params, editor.bundle.resolution, style=setting.style)
    refine = EditSettings.for_mode("refine", num_steps=setting.refine_steps)
    results: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for images in _batches(drawn, "smile"):
        ws = editor.embed(images, EmbedSettings(num_steps=setting.embed_steps)).ws
        edited = ws + delta
        refined = editor.refine(ws, edited, roi_labels=roi_labels, settings=refine)
        results.append(
            (
                *_judge(editor, ws, edited, roi_labels),
                *_judge(editor, ws, refined, roi_labels),
            )
        )
    success, outside, success_refined, outside_refined = (
        torch.cat(column) for column in zip(*results, strict=True)
    )
    return _Smiles(
        count,
        success.float().mean().item(),
        outside.median().item(),
        success_refined.float().mean().item(),
        outside_refined.median().item(),
    )


def _judge(
    editor: Editor, ws: Tensor, edited: Tensor, roi_labels: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """Whether each edit smiles [N], and its PSNR [N] outside the ROI against G(ws)."""
    assert editor.classifier is not None
    before, after = editor.synthesize_with_mask(ws), editor.synthesize_with_mask(edited)
    roi = editor.roi(before.mask, after.mask, roi_labels)
    with torch.inference_mode():
        smiling = editor.classifier(after.images)[:, editor.classifier.index(ATTRIBUTE)] > 0
    return smiling, masked_psnr(after.images, before.images, ~roi)


def _not_smiling(count: int) -> FloatArray:
    """Held-out parameters [count, P] of avatars that do not smile."""
    params = parameters.sample(4 * count, seed=CHECK_SEED + 1)
    smiling = attributes.present(params)[:, attributes.ATTRIBUTE_NAMES.index(ATTRIBUTE)]
    return params[~smiling][:count]


def _batches(drawn: Rendered, task: str) -> Iterator[Tensor]:
    """Images of the renders, telling on stderr how far the task is."""
    for start in range(0, len(drawn.pixels), BATCH):
        click.echo(f"{task} {start}/{len(drawn.pixels)}", err=True)
        yield as_images(drawn.pixels[start : start + BATCH])


def table(title: str, lines: list[Goal], ious: dict[str, float]) -> str:
    """One table as text."""
    rows = [f"{title}"]
    for line in lines:
        bound = "" if line.bound is None else f">= {line.bound:g} {'ok' if line.met else 'MISSED'}"
        rows.append(f"  {line.name:30} {line.value:8.2f} {line.unit:3} {bound:16} n={line.images}")
    rows.append("  IoU by part: " + ", ".join(f"{k} {v:.2f}" for k, v in ious.items()))
    return "\n".join(rows)


@click.command()
@click.option("--count", default=500, show_default=True, help="Held-out renders.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the shipped one.")
@click.option(
    "--only",
    type=click.Choice([setting.title for setting in SETTINGS]),
    help="Measure one of the two tables.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(count: int, bundle: Path | None, only: str | None, as_json: bool) -> None:
    """Measure a bundle of the class avatars and its smile vector on held-out renders."""
    editor = Editor.open(bundle or default.BUNDLE_FOLDER)
    with tempfile.TemporaryDirectory() as home:
        library = Library.open(RegistryConfig.from_environment(Path(home)))
        library.add_bundle(default.BUNDLE_FOLDER)
        import_library(library, default.STARTER_ARCHIVE)
        vector = library.get_vector(VECTOR)
        delta = torch.from_numpy(library.delta(vector))
    report: dict[str, Any] = {}
    missed = False
    for setting in SETTINGS:
        if only not in (None, setting.title):
            continue
        started = time.monotonic()
        lines, ious = measure(editor, delta, vector.roi_labels, setting, count=count)
        seconds = time.monotonic() - started
        missed = missed or not all(line.met for line in lines)
        report[setting.title] = {
            "goals": [line._asdict() | {"met": line.met} for line in lines],
            "ious": ious,
            "embed_steps": setting.embed_steps,
            "refine_steps": setting.refine_steps,
            "seconds": seconds,
        }
        if not as_json:
            title = (
                f"{setting.title}: encoder + {setting.embed_steps} steps, "
                f"refined with {setting.refine_steps} ({seconds:.0f} s)"
            )
            click.echo(table(title, lines, ious))
    if as_json:
        click.echo(json.dumps(report, indent=2))
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
