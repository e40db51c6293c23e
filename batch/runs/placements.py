"""Where the files of items lie: first where they were written, then where their chunk puts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from editvec.batch.runs.models import RunItem
from editvec.registry.tables.database import transaction

ItemPosition = tuple[int, int]


class OutputNames(NamedTuple):
    """The image and the mask, if any, of one item, relative to the output folder."""

    image: str
    mask: str | None = None


def _nothing() -> None:
    """What a placement does where files are at their place from the start."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A move of files that becomes true together with what SQL says of them.

    Attributes:
        names: where items lie after it, by (input, recipe) position; only those that move.
        publish: makes the files visible there; called in the transaction that records the names,
            so that nobody does it whose lease was lost.
        clear: removes them where they lay before; called when SQL has the new names.
    """

    names: Mapping[ItemPosition, OutputNames] = field(default_factory=dict)
    publish: Callable[[], None] = _nothing
    clear: Callable[[], None] = _nothing


def record_placement(session: Session, run_id: str, placement: Placement) -> None:
    """Publishes the files and records their names; what comes after in the transaction is short."""
    rows = [
        {
            "run_id": run_id,
            "position": position,
            "recipe_position": recipe_position,
            "file_name": names.image,
            "mask_file_name": names.mask,
        }
        for (position, recipe_position), names in placement.names.items()
    ]
    if rows:
        session.execute(update(RunItem), rows)
    placement.publish()


def place(engine: Engine, run_id: str, placement: Placement) -> None:
    """Carries a placement out where no lease is held: when every chunk of the run is decided."""
    with transaction(engine) as session:
        record_placement(session, run_id, placement)
    placement.clear()
