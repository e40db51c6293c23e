"""The manifests of a run: rows of JSON lines, and run.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from editvec.batch.recipes.recipe import FixedEdit, Recipe
from editvec.batch.recipes.settings import Composite, Mode
from editvec.batch.runs.entities import ItemRow, RunCounts, RunRecord
from editvec.batch.runs.plan import RunPlan
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.card import CARD, write_card
from editvec.batch.sinks.files import FileWriter
from editvec.registry.entities.classes import ClassModel

METADATA = "metadata.jsonl"
REJECTED = "rejected.jsonl"
FAILED = "failed.jsonl"
RESULTS = "results.jsonl"
RUN_FILE = "run.json"

# `datasets` takes the types of a column from its first rows, so that no value may be null
UNCHANGED_PSNR = 999.0
_UNKNOWN = -1.0
_SOURCE_FACTS = ("color", "source_size")


def write_manifests(
    writer: FileWriter,
    run: RunRecord,
    runs: Runs,
    *,
    row: Callable[[ItemRow], dict[str, Any]],
    summary: dict[str, Any],
    patterns: Sequence[str],
    others: Mapping[str, Iterable[bytes]] | None = None,
) -> None:
    """Writes every manifest of a run, streamed from SQL; run.json last of all.

    Args:
        writer: writes them.
        run: the run; every chunk of it is decided.
        runs: where its items are.
        row: makes the line of a done item.
        summary: what run.json says.
        patterns: the files that `datasets` is to read, as the card says it.
        others: manifests of this kind of output: names and pieces of their bytes.

    Raises:
        DiskFullError: no space is left.
    """

    def leftovers(*states: str) -> Iterator[bytes]:
        return lines(leftover_row(run.plan, item) for item in runs.items(run.id, states=states))

    write_card(writer, run, patterns)
    files = {
        **(others or {}),
        METADATA: lines(row(item) for item in runs.items(run.id, states=["done"])),
        REJECTED: leftovers("rejected"),
        FAILED: leftovers("failed", "quarantined"),
        RUN_FILE: [json.dumps(summary, indent=2, ensure_ascii=False).encode() + b"\n"],
    }
    for name, parts in files.items():
        writer.write_parts(run.plan.output_folder / name, parts)
    writer.sync()


def manifest_row(plan: RunPlan, row: ItemRow, *, source: str) -> dict[str, Any]:
    """One line of metadata.jsonl: the same types in every row of a run, and no null.

    Args:
        plan: the plan of the run.
        row: a done item.
        source: what the manifest calls its input.
    """
    recipe, position = plan.recipes[row.recipe_position], row.input.position
    edits = _edits(plan, row)
    values = {
        "file_name": row.file_name,
        **mask_of(row),
        "source": source,
        "recipe": recipe.name,
        "vectors": [_edit_row(edit) for edit in edits],
        "attributes": plan.attributes_of(row.recipe_position, position),
        "metrics": _metrics(plan, row),
        "verdict": "accepted",
        "content_key": row.content_key,
        **_photograph(plan, row),
    }
    if row.input.seed is None:
        return values
    return values | {"seed": row.input.seed, "sample": row.input.position}


def _edit_row(edit: FixedEdit) -> dict[str, Any]:
    """An edit; with its vector's usable range where a scale beyond that was forced."""
    usable = edit.vector.forced_range
    if usable is None or not edit.is_forced:
        return edit.to_json()
    return edit.to_json() | {"forced": True, "usable_range": list(usable)}


def add_rare_keys(plan: RunPlan, row: ItemRow, values: dict[str, Any]) -> None:
    """Adds what `manifest_row` says of some items only, for readers that look at a few rows.

    Args:
        plan: the plan of the run.
        row: a done item.
        values: its row, which is changed.
    """
    if plan.settings.refine_auto:
        values["metrics"].setdefault("refined_steps", 0)
    for edit, told in zip(_edits(plan, row), values["vectors"], strict=True):
        if (usable := edit.vector.forced_range) is not None:
            told |= {"forced": edit.is_forced, "usable_range": list(usable)}


def _edits(plan: RunPlan, row: ItemRow) -> list[FixedEdit]:
    """The edits of an item; of an unedited sample every vector at scale 0, which has types."""
    if edits := plan.edits_of(row.recipe_position, row.input.position):
        return edits
    vectors = (edit.vector for recipe in plan.recipes for edit in recipe.edits)
    return [FixedEdit(vector, 0.0) for vector in dict.fromkeys(vectors)]


def _metrics(plan: RunPlan, row: ItemRow) -> dict[str, Any]:
    """What was measured of an item, with a number for what could not be, or was not."""
    metrics = _measured(row) or {}
    if row.mask_file_name is not None and _measures_leakage(plan):
        metrics.setdefault("leakage", {"psnr": None})  # of the unedited sample
    return {name: _known(name, value) for name, value in metrics.items()}


def _known(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _known(inner, one) for inner, one in value.items()}
    if value is not None:
        return value
    return UNCHANGED_PSNR if name == "psnr" else _UNKNOWN


def _measures_leakage(plan: RunPlan) -> bool:
    """Whether some recipe of a run is compared with the reconstruction, outside a region."""
    settings = plan.settings
    is_seen = (
        plan.kind == "generate"
        or settings.composite is not Composite.NONE
        or any(plan.mode_of(recipe) is not Mode.VECTOR for recipe in plan.recipes)
    )
    return is_seen and any(_has_region(plan, recipe) for recipe in plan.recipes)


def _has_region(plan: RunPlan, recipe: Recipe) -> bool:
    is_edited = bool(recipe.edits) or plan.mode_of(recipe) is Mode.OPTIMIZE
    named = plan.settings.roi or recipe.roi_labels or recipe.brush_digests
    return is_edited and bool(named)


def mask_of(row: ItemRow) -> dict[str, Any]:
    """Where the mask of an item lies; nothing in runs of a class that makes no masks."""
    return {} if row.mask_file_name is None else {"mask_file_name": row.mask_file_name}


def _measured(row: ItemRow) -> dict[str, Any] | None:
    """The metrics of an item, without the facts of its input that are kept beside them."""
    if row.metrics is None:
        return None
    return {name: value for name, value in row.metrics.items() if name not in _SOURCE_FACTS}


def _photograph(plan: RunPlan, row: ItemRow) -> dict[str, Any]:
    """What was done with the input's colours; its upright size and its box where these matter."""
    values: dict[str, Any] = {}
    if plan.kind == "batch":
        values["color"] = (row.metrics or {}).get("color")
    size = (row.metrics or {}).get("source_size")
    if size is not None:
        values |= {"source_width": size[0], "source_height": size[1]}
    if plan.settings.boxes is not None and (box := row.input.box) is not None:
        values |= {
            "box": [float(side) for side in box[:4]],
            "box_label": box.label or "",
            "box_id": box.id or "",
        }
    return values


def leftover_row(plan: RunPlan, row: ItemRow) -> dict[str, Any]:
    """One line of rejected.jsonl or failed.jsonl."""
    return {
        "source": row.input.source,
        "recipe": plan.recipes[row.recipe_position].name,
        "state": row.state,
        "reason": row.reason,
        "metrics": _measured(row),
        **_photograph(plan, row),
    }


def run_summary(
    run: RunRecord, model: ClassModel, counts: RunCounts, *, now: datetime
) -> dict[str, Any]:
    """What run.json says: plan, digests, versions, counts, and the label scheme.

    Args:
        run: the run.
        model: its class.
        counts: of its items.
        now: the end of a run that goes on still.
    """
    finished_at = run.finished_at or now
    started_at = run.started_at or finished_at
    return {
        "run_id": run.id,
        "state": run.state,
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
        "card": CARD,
        "counts": {"inputs": run.input_count, **counts.to_json()},
        "plan_digest": run.plan_digest,
        "engine_version": run.engine_version,
        "created_at": run.created_at.isoformat(),
        "started_at": started_at.isoformat(),
        "finished_at": finished_at.isoformat(),
        "seconds": round((finished_at - started_at).total_seconds(), 3),
    }


def lines(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """JSON lines."""
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _text(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()


def result_row(item: ItemRow) -> dict[str, Any]:
    """One line of results.jsonl."""
    return {
        "name": item.input.output_name,
        "source": item.input.source,
        **(item.result or {}),
        "metrics": item.metrics,
        "content_key": item.content_key,
    }


def failure_row(item: ItemRow) -> dict[str, Any]:
    """One line of failed.jsonl."""
    return {
        "name": item.input.output_name,
        "source": item.input.source,
        "state": item.state,
        "reason": item.reason,
    }
