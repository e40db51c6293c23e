"""A folder or a number of seeds becomes a plan: stable inputs, output names, chunks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from editvec.batch.errors import PlanError, RunConflictError
from editvec.batch.naming import display_path
from editvec.batch.recipes.boxes import Box
from editvec.batch.recipes.file import RecipeArgument
from editvec.batch.recipes.pinning import EditArgument
from editvec.batch.recipes.recipe import EditPlan
from editvec.batch.recipes.settings import RunSettings
from editvec.masking import is_url

PLAN_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedInput:
    """One input: a file by its path under the input folder, a seed, or a job.

    Attributes:
        position: its place in the run.
        relative_path: path under the input folder; bytes, as the system knows it. Of a sample, its
            name.
        output_name: relative path of its outputs, without the suffix.
        size: bytes, as planned; None = a seed, or a file that could not be examined.
        mtime_ns: time of the last change, as planned.
        seed: of a sample, which is number `position` of that seed.
        digest: of the file, once it was read.
        box: of the object in the picture; None = the whole picture.
        job: what is to be done with it, in a run whose inputs differ in that.
    """

    position: int
    relative_path: bytes
    output_name: str
    size: int | None = None
    mtime_ns: int | None = None
    seed: int | None = None
    digest: str | None = None
    box: Box | None = None
    job: dict[str, Any] | None = None

    @property
    def source(self) -> str:
        """The relative path as text."""
        return display_path(self.relative_path)


class ChunkRange(NamedTuple):
    """A stretch of inputs."""

    first_input: int
    input_count: int


@dataclass(frozen=True, kw_only=True)
class RunPlan(EditPlan):
    """All that decides the outputs of a run, except the inputs themselves.

    Attributes:
        kind: "batch", "generate", "learn", "embed" or "evaluate".
        class_address: class model with its version.
        generator_digest: what vectors and embeddings bind to.
        bundle_digest: of the whole bundle.
        output_folder: where everything is written.
        request: class and edits as typed; a repeated command is compared by it.
        input_folder: None in a generated run; what the files of jobs are relative to.
    """

    kind: str
    class_address: str
    generator_digest: str
    bundle_digest: str
    output_folder: Path
    request: dict[str, Any]

    @property
    def has_sources(self) -> bool:
        """True if unedited samples are among the outputs."""
        return self.kind == "generate" and any(not recipe.edits for recipe in self.recipes)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the runs table, whose other columns hold the folders."""
        values = super().to_json()
        del values["input_folder"], values["output_folder"]
        return {"format": PLAN_FORMAT, **values}

    @property
    def digest(self) -> str:
        """Digest of the canonical JSON of the plan."""
        return hashlib.sha256(canonical_json(self.to_json())).hexdigest()


def canonical_json(values: object) -> bytes:
    """The one serialisation that digests are taken of."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def build_request(
    class_name: str | None,
    arguments: Sequence[EditArgument],
    input_folder: Path | None,
    settings: RunSettings,
    *,
    recipes: Sequence[RecipeArgument] = (),
) -> dict[str, Any]:
    """What was asked for, before versions were pinned: equal requests are the same command."""
    written = {"recipes": [recipe.to_json() for recipe in recipes]} if recipes else {}
    return {
        **written,
        "class": class_name,
        "edits": [argument.to_json() for argument in arguments],
        "input_folder": None if input_folder is None else display_path(os.fsencode(input_folder)),
        **settings.to_json(),
    }


def require_same_request(known: dict[str, Any], asked: dict[str, Any], *, run_id: str) -> None:
    """Refuses a repeated command whose parameters are not those of its run.

    Raises:
        RunConflictError: names every field that differs.
    """
    names = [name for name in {**known, **asked} if known.get(name) != asked.get(name)]
    if not names:
        return
    changes = "; ".join(
        f"{name} was {_short(known.get(name))}, now {_short(asked.get(name))}" for name in names
    )
    raise RunConflictError(
        f"output folder: it holds run {run_id[:8]} with other parameters ({changes}); "
        "repeat the command as it was or choose another output folder"
    )


def resolve_folders(input_folder: Path | None, output_folder: Path) -> tuple[Path | None, Path]:
    """The real paths of both folders, checked against each other.

    Raises:
        PlanError: the input folder is missing, one of the folders lies inside the other, or one
            is a URL.
    """
    for name, folder in (("input", input_folder), ("output", output_folder)):
        if folder is not None and is_url(folder):
            raise PlanError(
                f"{name} folder: expected a folder of this machine, got a URL, {folder}"
            )
    output = Path(os.path.realpath(output_folder))
    if output.exists() and not output.is_dir():
        raise PlanError(f"output folder: {output} is not a folder")
    if input_folder is None:
        return None, output
    if not input_folder.exists():
        raise PlanError(f"input folder: {input_folder} does not exist")
    if not input_folder.is_dir():
        raise PlanError(f"input folder: {input_folder} is not a folder")
    source = Path(os.path.realpath(input_folder))
    if output == source:
        raise PlanError(f"output folder: {output} is the input folder")
    if output.is_relative_to(source):
        raise PlanError(f"output folder: {output} lies inside the input folder {source}")
    if source.is_relative_to(output):
        raise PlanError(f"input folder: {source} lies inside the output folder {output}")
    return source, output


def cut_chunks(input_count: int, chunk_size: int) -> list[ChunkRange]:
    """Cuts the inputs into stretches of `chunk_size`; the last may be shorter."""
    starts = range(0, input_count, chunk_size)
    return [ChunkRange(start, min(chunk_size, input_count - start)) for start in starts]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
