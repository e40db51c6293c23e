"""What every kind of output folder can do for a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from editvec.batch.runs.entities import ItemRow
from editvec.batch.runs.placements import OutputNames, Placement
from editvec.batch.runs.plan import PlannedInput
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.ledger import Audit, Ledger

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class NewOutput:
    """One item that is ready to be written.

    Attributes:
        input: what it was made from.
        recipe_position: which recipe made it.
        pixels: uint8 [H, W, 3]; [H, W, 4] with transparency.
        mask: label indices, [H, W]; None of a class that makes no masks.
        source_digest: of the input.
        content_key: of the item.
        profile: ICC profile of the pixels; None: they are sRGB, and the file says nothing.
    """

    input: PlannedInput
    recipe_position: int
    pixels: Pixels
    mask: Mask | None
    source_digest: str
    content_key: str
    profile: bytes | None = None


class Sink(Protocol):
    """Writes the outputs of one run and knows where they lie; safe in several threads."""

    def write_item(self, output: NewOutput) -> OutputNames:
        """Writes the image of one item, and its mask if any. Raises DiskFullError, OSError."""

    def sync(self) -> None:
        """Returns when everything written so far is on the disk. Raises DiskFullError."""

    def finish_chunk(self, chunk_position: int, rows: Sequence[ItemRow]) -> Placement:
        """Does what a chunk needs when all its items are decided.

        Args:
            chunk_position: of the chunk in the run.
            rows: every done item of it, in the order of inputs and recipes.
        """

    def row(self, item: ItemRow) -> dict[str, Any]:
        """The line of an item in metadata.jsonl."""

    def write_manifests(self, runs: Runs, summary: dict[str, Any]) -> None:
        """Writes what describes the whole run, run.json last of all. Raises DiskFullError."""

    def clean(self) -> None:
        """Removes temporary files, with what killed processes left of theirs."""

    def names_of(self, item: ItemRow) -> Sequence[str]:
        """The files of a done item, relative to the output folder."""

    def files(self) -> Iterator[str]:
        """Every file of an item that lies in the output folder, by the same names."""

    def check(self, found: Audit, ledger: Ledger, *, is_finished: bool) -> None:
        """Adds what else is wrong.

        Args:
            found: takes the problems.
            ledger: holds the images in SQL, on the side IMAGES.
            is_finished: False of a run that goes on; its manifests are not written yet.
        """
