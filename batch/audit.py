"""Compares what SQL says about a run with what lies on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batch.entities import RunRecord
from batch.runs import Runs
from batch.sinks.imagefolder import METADATA
from registry.store import Library

_MOST_NAMED = 20


@dataclass(kw_only=True)
class Audit:
    """What an audit found; nothing at all if the run is whole.

    Attributes:
        items: items that were compared.
        problems: one line each; at most some of every kind are named.
    """

    items: int = 0
    problems: list[str] = field(default_factory=list)


def audit(library: Library, run: RunRecord) -> Audit:
    """Checks that counts add up, that every done item has its files, and that there are no others.

    Args:
        library: where the run is.
        run: any run; of one that goes on, manifests are not compared.
    """
    runs = Runs(library.engine)
    counts = runs.counts(run.id)
    found = Audit(items=counts.finished)
    if run.is_finished and counts.finished != counts.total:
        found.problems.append(f"{counts.finished} items are decided, planned were {counts.total}")
    folder = run.plan.output_folder
    expected: set[str] = set()
    keys: dict[str, str | None] = {}
    for item in runs.items(run.id, states=["done"]):
        for name in (item.file_name, item.mask_file_name):
            assert name is not None
            expected.add(name)
        assert item.file_name is not None
        keys[item.file_name] = item.content_key
    missing = [name for name in sorted(expected) if not (folder / name).is_file()]
    _name(found, "missing", missing)
    if run.is_finished:
        _name(found, "not recorded", sorted(set(_files(folder)) - expected))
        _compare_manifest(found, folder / METADATA, keys)
    return found


def _files(folder: Path) -> Iterator[str]:
    """Every file under images/ and masks/, relative to the output folder."""
    for top in ("images", "masks"):
        for place, _, names in os.walk(folder / top):
            for name in names:
                yield (Path(place) / name).relative_to(folder).as_posix()


def _compare_manifest(found: Audit, path: Path, keys: dict[str, str | None]) -> None:
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            rows = [json.loads(line) for line in lines]
    except (OSError, ValueError) as exc:
        found.problems.append(f"{path.name} cannot be read: {exc}")
        return
    listed = {row["file_name"]: row["content_key"] for row in rows}
    if len(listed) < len(rows):
        found.problems.append(f"{path.name} lists {len(rows) - len(listed)} images twice")
    _name(found, f"not in {path.name}", sorted(keys.keys() - listed.keys()))
    _name(found, f"only in {path.name}", sorted(listed.keys() - keys.keys()))
    differing = [name for name in keys.keys() & listed.keys() if keys[name] != listed[name]]
    _name(found, f"of another content key in {path.name}", sorted(differing))


def _name(found: Audit, kind: str, names: list[str]) -> None:
    found.problems.extend(f"{kind}: {name}" for name in names[:_MOST_NAMED])
    if len(names) > _MOST_NAMED:
        found.problems.append(f"{kind}: {len(names) - _MOST_NAMED} more")
