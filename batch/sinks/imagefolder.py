"""The image folder: images, index-PNG masks and JSON lines that Hugging Face `datasets` reads."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from batch.entities import ItemRow, RunCounts, RunRecord
from batch.naming import OUTPUT_SUFFIX
from batch.plan import PlannedInput, RunPlan
from batch.recipe import SOURCE_RECIPE
from batch.sinks.files import FileWriter
from registry.entities import ClassModel, Label
from registry.masks import encode_mask

METADATA = "metadata.jsonl"
REJECTED = "rejected.jsonl"
FAILED = "failed.jsonl"
RUN_FILE = "run.json"
_PNG_LEVEL = 1

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.integer[Any]]


class ImageFolderSink:
    """Writes the outputs of one run; safe to call from several threads."""

    def __init__(self, run: RunRecord, labels: Sequence[Label], *, writer_name: str) -> None:
        """Makes the sink.

        Args:
            run: the run.
            labels: the label scheme, for the colours of the masks.
            writer_name: different for all who write at the same time.
        """
        self.run = run
        self.labels = labels
        self.folder = run.plan.output_folder
        self.writer = FileWriter(run.work_folder / "tmp", prefix=writer_name)

    def write_item(self, file_name: str, mask_file_name: str, pixels: Pixels, mask: Mask) -> None:
        """Writes the image and the mask of one item.

        Raises:
            DiskFullError: no space is left.
            OSError: a file cannot be written.
        """
        self.writer.write(self.folder / mask_file_name, encode_mask(mask, self.labels))
        self.writer.write(self.folder / file_name, encode_image(pixels))

    def write_part(self, chunk_position: int, rows: Iterable[ItemRow]) -> None:
        """Writes the manifest rows of one chunk."""
        path = self.run.work_folder / f"part-{chunk_position:05d}.jsonl"
        self.writer.write_parts(path, _lines(manifest_row(self.run.plan, row) for row in rows))

    def write_manifests(
        self,
        *,
        done: Iterable[ItemRow],
        rejected: Iterable[ItemRow],
        failed: Iterable[ItemRow],
        summary: dict[str, Any],
    ) -> None:
        """Writes metadata.jsonl, rejected.jsonl, failed.jsonl and, last of all, run.json."""
        plan = self.run.plan
        files = {
            METADATA: _lines(manifest_row(plan, row) for row in done),
            REJECTED: _lines(leftover_row(plan, row) for row in rejected),
            FAILED: _lines(leftover_row(plan, row) for row in failed),
            RUN_FILE: [json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n"],
        }
        for name, parts in files.items():
            self.writer.write_parts(self.folder / name, parts)
        self.writer.sync()


def encode_image(pixels: Pixels) -> bytes:
    """A PNG at level 1: level 6 takes a third longer and saves little."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=_PNG_LEVEL)
    return stream.getvalue()


def image_name(plan: RunPlan, recipe_position: int, output_name: str) -> str:
    """Where the image of an item lies, relative to the output folder."""
    return f"images/{plan.recipes[recipe_position].name}/{output_name}{OUTPUT_SUFFIX}"


def mask_name(plan: RunPlan, recipe_position: int, output_name: str) -> str:
    """Where the mask of an item lies, relative to the output folder."""
    return f"masks/{plan.recipes[recipe_position].name}/{output_name}{OUTPUT_SUFFIX}"


def source_name(source: PlannedInput) -> str:
    """What the manifest calls an input: its path, or the unedited sample among the outputs."""
    if source.seed is None:
        return source.source
    return f"images/{SOURCE_RECIPE}/{source.output_name}{OUTPUT_SUFFIX}"


def manifest_row(plan: RunPlan, row: ItemRow) -> dict[str, Any]:
    """One line of metadata.jsonl; the same keys in every row of a run."""
    recipe = plan.recipes[row.recipe_position]
    values = {
        "file_name": row.file_name,
        "mask_file_name": row.mask_file_name,
        "source": source_name(row.input),
        "recipe": recipe.name,
        "vectors": [{"address": edit.vector.address, "scale": edit.scale} for edit in recipe.edits],
        "attributes": recipe.attributes(plan.attribute_names),
        "metrics": row.metrics,
        "verdict": "accepted",
        "content_key": row.content_key,
    }
    if row.input.seed is None:
        return values
    return values | {"seed": row.input.seed, "sample": row.input.position}


def leftover_row(plan: RunPlan, row: ItemRow) -> dict[str, Any]:
    """One line of rejected.jsonl or failed.jsonl."""
    return {
        "source": row.input.source,
        "recipe": plan.recipes[row.recipe_position].name,
        "state": row.state,
        "reason": row.reason,
        "metrics": row.metrics,
    }


def run_summary(
    run: RunRecord, model: ClassModel, counts: RunCounts, *, state: str, finished_at: datetime
) -> dict[str, Any]:
    """What run.json says: plan, digests, versions, counts, and the label scheme."""
    started_at = run.started_at or finished_at
    return {
        "run_id": run.id,
        "state": state,
        "kind": run.kind,
        "class": run.plan.class_address,
        "generator_digest": run.plan.generator_digest,
        "bundle_digest": run.plan.bundle_digest,
        "input_folder": None if run.plan.input_folder is None else _text(run.plan.input_folder),
        "output_folder": _text(run.plan.output_folder),
        "settings": run.plan.settings.to_json(),
        "recipes": [recipe.to_json() for recipe in run.plan.recipes],
        "labels": [
            {"index": label.index, "name": label.name, "color": list(label.color)}
            for label in model.labels
        ],
        "counts": {"inputs": run.input_count, **counts.to_json()},
        "plan_digest": run.plan_digest,
        "engine_version": run.engine_version,
        "created_at": run.created_at.isoformat(),
        "started_at": started_at.isoformat(),
        "finished_at": finished_at.isoformat(),
        "seconds": round((finished_at - started_at).total_seconds(), 3),
    }


def _lines(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _text(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()
