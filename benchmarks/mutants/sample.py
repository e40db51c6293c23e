"""A random sample of changes, evenly over packages, their modules and the kinds of change."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.mutants.changes import Change, changed, changes_of
from benchmarks.mutants.rooms import modules_of


class Mutant(NamedTuple):
    """One module with one change.

    Attributes:
        module: its path below the checkout's folder.
        change: what is changed.
    """

    module: str
    change: Change


def draw(packages: Sequence[str], *, count: int, seed: int, root: Path) -> list[Mutant]:
    """Draw mutants; the same arguments and sources give the same ones.

    Each package has its share of `count`; no module is visited again before each was visited once.

    Args:
        packages: names of `rooms.PACKAGES`.
        count: how many mutants in all.
        seed: of the sample.
        root: folder of the checkout.
    """
    drawn = []
    for index, package in enumerate(packages):
        share = count // len(packages) + (index < count % len(packages))
        chance = random.Random(f"{seed} {package}")
        drawn += _of_package(modules_of(package, root), share, chance, root)
    return drawn


def _of_package(modules: list[str], share: int, chance: random.Random, root: Path) -> list[Mutant]:
    drawn: list[Mutant] = []
    found = True
    while len(drawn) < share and found:
        found = False
        for module in chance.sample(modules, len(modules)):
            kinds = changes_of(root / module)
            if not kinds or len(drawn) == share:
                continue
            mutant = Mutant(module, chance.choice(kinds[chance.choice(sorted(kinds))]))
            if mutant not in drawn and changed(root / module, mutant.change) is not None:
                drawn.append(mutant)
                found = True
    return drawn
