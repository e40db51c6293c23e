"""What a report says of a run, gathered from its items in one pass and in constant memory."""

from __future__ import annotations

import heapq
import math
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from editvec.batch.recipes.recipe import SOURCE_RECIPE
from editvec.batch.reports.pictures import Row, ShownTerm, numbers, terms_of
from editvec.batch.runs.progress import MAX_REASONS, OTHER_REASONS, general_reason
from editvec.batch.sinks.manifests import FAILED, REJECTED

SAMPLE_SIZE = 2048


class Distribution:
    """How numbers are spread: count and ends of all of them, the rest from an even sample.

    Up to SAMPLE_SIZE numbers the sample is all there are. Beyond, each number is as likely in it as
    any other (Vitter 1985, algorithm R), by chances that are the same in every process: equal
    numbers in equal order give an equal sample. A quantile q is then off by about
    sqrt(q (1 - q) / SAMPLE_SIZE) in rank, which is one percent for the median.

    Attributes:
        count: how many numbers were added.
        low: the least of them.
        high: the greatest of them.
    """

    __slots__ = ("_chances", "_sample", "count", "high", "low")

    def __init__(self) -> None:
        self.count = 0
        self.low = math.inf
        self.high = -math.inf
        self._sample = array("d")
        self._chances: random.Random | None = None

    def add(self, value: float) -> None:
        """Adds a finite number."""
        self.count += 1
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        if self.count <= SAMPLE_SIZE:
            self._sample.append(value)
            return
        if self._chances is None:
            self._chances = random.Random(0)
        place = int(self._chances.random() * self.count)
        if place < SAMPLE_SIZE:
            self._sample[place] = value

    @property
    def is_constant(self) -> bool:
        """True if all numbers are the same."""
        return self.low >= self.high

    @property
    def is_sampled(self) -> bool:
        """True if there were more numbers than were kept."""
        return self.count > SAMPLE_SIZE

    @property
    def median(self) -> float:
        """The number below which half of all lie; at least one was added."""
        return self.quantiles([0.5])[0]

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The numbers below which these shares of all lie; at least one number was added."""
        return [float(value) for value in np.quantile(np.asarray(self._sample), shares)]

    def bars(self, low: float, high: float, *, bins: int) -> list[int]:
        """How much of the sample lies in each of `bins` equal steps from `low` to `high`.

        What lies beyond an end counts in the step at that end.
        """
        values = np.clip(np.asarray(self._sample), low, high)
        return [int(count) for count in np.histogram(values, bins=bins, range=(low, high))[0]]

    def to_json(self) -> dict[str, Any]:
        """Count, ends, median and the middle nine tenths."""
        lower, median, upper = self.quantiles([0.05, 0.5, 0.95])
        return {
            "count": self.count,
            "low": self.low,
            "q05": lower,
            "median": median,
            "q95": upper,
            "high": self.high,
        }


EXAMPLES_PER_REASON = 6
EXTREMES = 3
MAX_SCALES = 16
MAX_COMBINATIONS = 1024

_PERCEPTUAL = ("perceptual", "lpips")


class Lowest:
    """The rows with the lowest ranks, of any number of rows."""

    def __init__(self, size: int) -> None:
        self.size = size
        # the highest rank at the top; the number decides between equals
        self._heap: list[tuple[float, int, Row]] = []
        self._added = 0

    def add(self, rank: float, row: Row) -> None:
        """Keeps the row if its rank is among the lowest so far."""
        self._added += 1
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, (-rank, -self._added, row))
        elif self._heap and -rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-rank, -self._added, row))

    def rows(self, limit: int | None = None) -> list[Row]:
        """The rows, the lowest rank first."""
        best = sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        return [row for _, _, row in best[:limit]]


@dataclass
class RecipeTally:
    """What became of the items of one recipe.

    Attributes:
        name: of the recipe.
        terms: its vectors and scales.
        states: how many items are in which state.
        metrics: every metric of the items that were measured, rejected ones too.
        spread: some done items, evenly spread over the run.
        best: done items that changed least outside the ROI.
        worst: done items that changed most outside the ROI.
        met: done items that came closest to their wanted mask.
        missed: done items that stayed furthest from it.
    """

    name: str
    terms: list[ShownTerm]
    spread: Lowest
    states: Counter[str] = field(default_factory=Counter)
    metrics: dict[str, Distribution] = field(default_factory=dict)
    best: Lowest = field(default_factory=lambda: Lowest(EXTREMES))
    worst: Lowest = field(default_factory=lambda: Lowest(EXTREMES))
    met: Lowest = field(default_factory=lambda: Lowest(EXTREMES))
    missed: Lowest = field(default_factory=lambda: Lowest(EXTREMES))

    @property
    def count(self) -> int:
        """Images that it made."""
        return self.states["done"]


@dataclass
class AttributeTally:
    """The scales that an attribute has in the images.

    Attributes:
        scales: how many images have which; only while they are at most MAX_SCALES.
        spread: of all of them.
    """

    scales: Counter[float] = field(default_factory=Counter)
    spread: Distribution = field(default_factory=Distribution)

    @property
    def is_listed(self) -> bool:
        """True if every scale is among `scales`."""
        return len(self.scales) <= MAX_SCALES

    def add(self, scale: float) -> None:
        """Counts one image."""
        self.spread.add(scale)
        if self.is_listed:
            self.scales[scale] += 1


@dataclass
class ReasonTally:
    """Items that gave no image, for one reason.

    Attributes:
        state: rejected, failed or quarantined.
        reason: with numbers written as `#`, and without the name of the input.
        count: of items.
        examples: some of them.
    """

    state: str
    reason: str
    count: int = 0
    examples: Lowest = field(default_factory=lambda: Lowest(EXAMPLES_PER_REASON))

    @property
    def manifest(self) -> str:
        """The file that lists these items in the end."""
        return REJECTED if self.state == "rejected" else FAILED


class RunTally:
    """Counts the rows of a run."""

    def __init__(self, *, samples_per_recipe: int) -> None:
        """Begins with nothing.

        Args:
            samples_per_recipe: so many images of each recipe are chosen to be shown.
        """
        self.recipes: dict[str, RecipeTally] = {}
        self.attributes: dict[str, AttributeTally] = {}
        self.combinations: Counter[tuple[str, ...]] = Counter()
        self._reasons: dict[tuple[str, str], ReasonTally] = {}
        self._samples = samples_per_recipe

    def add_all(self, rows: Iterable[Row]) -> None:
        """Counts rows: of metadata.jsonl, or of the same form with `state` and `reason`."""
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Counts a row."""
        name = str(row.get("recipe", ""))
        recipe = self.recipes.get(name)
        if recipe is None:
            recipe = RecipeTally(name, terms_of(row), Lowest(self._samples))
            self.recipes[name] = recipe
        state = str(row.get("state", "done"))
        recipe.states[state] += 1
        for metric, value in numbers(row.get("metrics")):
            if metric not in recipe.metrics:
                recipe.metrics[metric] = Distribution()
            recipe.metrics[metric].add(value)
        if state == "done":
            self._add_done(recipe, row)
        elif state != "cancelled":
            self._add_reason(state, row)

    @property
    def shown_recipes(self) -> list[RecipeTally]:
        """Recipes with images; unedited samples, the inputs of the others, only where alone."""
        made = [recipe for recipe in self.recipes.values() if recipe.count]
        return [recipe for recipe in made if recipe.name != SOURCE_RECIPE] or made

    def reasons(self) -> list[ReasonTally]:
        """Why items gave no image, the most frequent reason first."""
        return sorted(self._reasons.values(), key=lambda one: (-one.count, one.state, one.reason))

    def state(self, name: str) -> int:
        """How many items of the run are in a state."""
        return sum(recipe.states[name] for recipe in self.recipes.values())

    def to_json(self) -> dict[str, Any]:
        """The numbers behind the page."""
        return {
            "recipes": [
                {
                    "name": recipe.name,
                    "counts": dict(recipe.states),
                    "metrics": {name: one.to_json() for name, one in recipe.metrics.items()},
                }
                for recipe in self.recipes.values()
            ],
            "attributes": {
                name: {
                    **one.spread.to_json(),
                    "scales": [[scale, count] for scale, count in sorted(one.scales.items())]
                    if one.is_listed
                    else None,
                }
                for name, one in self.attributes.items()
            },
            "combinations": [
                {"on": list(names), "count": count}
                for names, count in self.combinations.most_common()
            ],
            "reasons": [
                {"state": one.state, "reason": one.reason, "count": one.count}
                for one in self.reasons()
            ],
        }

    def _add_done(self, recipe: RecipeTally, row: Row) -> None:
        recipe.spread.add(_rank(row), row)
        leaked = leakage_of(row)
        if leaked is not None:
            recipe.worst.add(-leaked, row)
            recipe.best.add(leaked, row)
        success = success_of(row)
        if success is not None:
            recipe.missed.add(success, row)
            recipe.met.add(-success, row)
        attributes = row.get("attributes")
        if not isinstance(attributes, Mapping):
            return
        on = []
        for name, scale in attributes.items():
            if name not in self.attributes:
                self.attributes[name] = AttributeTally()
            self.attributes[name].add(float(scale))
            if scale:
                on.append(str(name))
        chosen = tuple(on)
        if chosen in self.combinations or len(self.combinations) < MAX_COMBINATIONS:
            self.combinations[chosen] += 1

    def _add_reason(self, state: str, row: Row) -> None:
        key = (state, general_reason(str(row.get("reason") or ""), str(row.get("source") or "")))
        if key not in self._reasons and len(self._reasons) >= MAX_REASONS:
            key = (state, OTHER_REASONS)
        if key not in self._reasons:
            self._reasons[key] = ReasonTally(*key)
        self._reasons[key].count += 1
        self._reasons[key].examples.add(_rank(row), row)


def success_of(row: Row) -> float | None:
    """The IoU of a row with its wanted mask, 0 to 1; None where it has none."""
    metrics = row.get("metrics")
    value = metrics.get("success_iou") if isinstance(metrics, Mapping) else None
    return dict(numbers({"success_iou": value})).get("success_iou")


def leakage_of(row: Row) -> float | None:
    """How much a row changed outside the ROI, more is worse; None where it was not measured."""
    metrics = row.get("metrics")
    measured = dict(numbers(metrics.get("leakage"))) if isinstance(metrics, Mapping) else {}
    distances = [value for name, value in measured.items() if name.startswith(_PERCEPTUAL)]
    if distances:
        return distances[0]
    return -measured["psnr"] if "psnr" in measured else None


def _rank(row: Row) -> float:
    """A number that depends on the input alone, and on nothing that its scales depend on."""
    name = row.get("position", row.get("source") or row.get("file_name"))
    digest = sha256(str(name).encode("utf-8", "surrogatepass")).digest()
    return float(int.from_bytes(digest[:6], "big"))
