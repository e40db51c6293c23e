"""What is searched for: a query of vectors, and bounds of metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass

from editvec.registry.addresses import check_name, quote
from editvec.registry.entities.vectors import EditingVector, Kind
from editvec.registry.errors import InvalidNameError, RecordError
from editvec.registry.values import checked_number, one_of, refuse_text

BY_NAME = "name"
BY_TIME = "created"
COMPARISONS = ("<", "<=", ">", ">=", "=")

_BOUND = re.compile(r"(?P<name>.*?)(?P<comparison><=|>=|<|>|=)(?P<value>.*)", re.DOTALL)
_GLOB = re.compile(r"[A-Za-z0-9_.*?-]+\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z", re.ASCII)


@dataclass(frozen=True)
class MetricBound:
    """A condition on the newest value of a metric; a vector without that metric does not pass.

    Attributes:
        name: of the metric.
        comparison: one of `COMPARISONS`.
        value: what the metric is compared with.

    Raises:
        InvalidNameError: no name of a metric.
        RecordError: no such comparison, NaN or infinity.
    """

    name: str
    comparison: str
    value: float

    def __post_init__(self) -> None:
        check_name(self.name, of="metric name")
        if self.comparison not in COMPARISONS:
            raise RecordError(
                f"bound of metric {self.name}: expected one of {', '.join(COMPARISONS)}, "
                f"got {self.comparison!r}"
            )
        checked_number(self.value, of=f"bound of metric {self.name}")

    def __str__(self) -> str:
        return f"{self.name}{self.comparison}{self.value:g}"


def parse_bound(text: str) -> MetricBound:
    """Parses `leakage<0.05`; blanks around the parts do not matter.

    Raises:
        RecordError: no comparison in it, or no finite number after it.
        InvalidNameError: no name of a metric before it.

    Example:
        >>> parse_bound("leakage <= 0.05")
        MetricBound(name='leakage', comparison='<=', value=0.05)
    """
    match = _BOUND.match(text)
    if match is None:
        raise RecordError(
            f"bound {quote(text)}: expected a metric, then <, <=, >, >= or =, then a number"
        )
    number = match["value"].strip()
    if _NUMBER.match(number) is None:
        raise RecordError(
            f"bound {quote(text)}: expected a number after {match['comparison']}, "
            f"got {quote(number)}"
        )
    return MetricBound(match["name"].strip(), match["comparison"], float(number))


@dataclass(frozen=True, kw_only=True)
class VectorQuery:
    """Which vectors are wanted, in which order: those that pass every filter that is given.

    Attributes:
        class_name: of this class; `avatars@2` means that version of it only.
        name_glob: the name, with `*` for any letters and `?` for one; capitals matter.
        roi_labels: with all of these parts in the ROI.
        kind: learned, imported or composed.
        tags: with all of these tags.
        alias: that an alias of this name points to; `latest` is the same as `latest_only`.
        bounds: whose newest metrics keep within all of these.
        retired: False leaves the retired ones out, True leaves only these, None asks for both.
        latest_only: the newest version of each name, of those that `retired` lets pass.
        sort: `name` (class, name and version), `created`, or the name of a metric: the vectors
            that have it, by its newest value. Equal ones are in the order they were stored in.
        descending: the other way round.
        after: address of the last vector of the page before; the page begins behind it. It need
            not pass the filters any more.
        limit: at most so many, None for all.

    Raises:
        InvalidNameError: a name, tag, alias or metric that cannot be one.
        RecordError: a text, number or word that is out of its range.
    """

    class_name: str | None = None
    name_glob: str | None = None
    roi_labels: tuple[str, ...] = ()
    kind: Kind | str | None = None
    tags: tuple[str, ...] = ()
    alias: str | None = None
    bounds: tuple[MetricBound, ...] = ()
    retired: bool | None = False
    latest_only: bool = False
    sort: str = BY_NAME
    descending: bool = False
    after: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.kind is not None:
            one_of(Kind, self.kind, of="kind")
        if self.name_glob is not None and _GLOB.match(self.name_glob) is None:
            raise InvalidNameError(
                "name: expected letters, digits, '_', '.', '-', and '*' or '?' in place of any, "
                f"got {quote(self.name_glob)}"
            )
        refuse_text(self.roi_labels, of="roi_labels")
        refuse_text(self.tags, of="tags")
        for tag in self.tags:
            check_name(tag, of="tag")
        if self.alias is not None:
            check_name(self.alias, of="alias")
        check_name(self.sort, of="sort")
        if self.limit is not None and self.limit < 1:
            raise RecordError(f"limit: expected 1 or more, got {self.limit}")

    @property
    def sort_metric(self) -> str | None:
        """The metric that decides the order, where one does."""
        return None if self.sort in (BY_NAME, BY_TIME) else self.sort


EVERYTHING = VectorQuery()


@dataclass(frozen=True)
class SimilarVector:
    """What a search for similar vectors found; `cosine` is that of the angle between, -1 to 1."""

    vector: EditingVector
    cosine: float
