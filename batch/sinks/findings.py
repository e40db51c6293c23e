"""What an audit found, one line for each problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from editvec.batch.sinks.ledger import Ledger

# the images of the done items with their content keys, as SQL has them
IMAGES = "images in SQL"
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

    def add(self, kind: str, names: Iterable[str]) -> None:
        """Adds a line for each name, up to a limit, and one for how many more there are."""
        rest = iter(names)
        self.problems.extend(f"{kind}: {name}" for name in islice(rest, _MOST_NAMED))
        if more := sum(1 for _ in rest):
            self.problems.append(f"{kind}: {more} more")

    def compare(self, manifest: str, ledger: Ledger) -> None:
        """Compares the images that a manifest lists, with their content keys, with those in SQL."""
        self.add(f"not in {manifest}", ledger.only_in(IMAGES, manifest))
        self.add(f"only in {manifest}", ledger.only_in(manifest, IMAGES))
        differing = ledger.differing(IMAGES, manifest)
        self.add(f"of another content key in {manifest}", differing)
