"""What is measured of vectors once they are stored, and their usable range that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Engine

from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import RecordError
from editvec.registry.library.changes import changing
from editvec.registry.library.records import mark_latest, metric_row
from editvec.registry.values import checked_number


class VectorMetrics:
    """The part of the library that keeps measurements."""

    engine: Engine

    def add_metrics(
        self,
        address: str,
        metrics: Sequence[NewMetric],
        *,
        reason: str = "",
        class_name: str | None = None,
    ) -> EditingVector:
        """Adds measurements of a version; older ones of the same name stay, but count no more.

        Args:
            address: without a version, the newest that is not retired.
            metrics: at least one; a `Metric` keeps its time.
            reason: why, for the history.
            class_name: the class for an address without one.

        Raises:
            VectorNotFoundError: no such vector or version.
            RecordError: no metric, or a value that no database keeps.
            InvalidNameError: not an address, or a metric's name that is none.

        Example:
            >>> from editvec.registry.entities.vectors import NewMetric
            >>> found = NewMetric(name="leakage", value=0.02, direction="lower", sample_count=64)
            >>> [metric.value for metric in library.add_metrics("smile", [found]).metrics]
            [0.04, 0.02]
        """
        return self.add_metrics_of_several(
            {address: metrics}, reason=reason, class_name=class_name
        )[0]

    def add_metrics_of_several(
        self,
        metrics: Mapping[str, Sequence[NewMetric]],
        *,
        reason: str = "",
        class_name: str | None = None,
    ) -> list[EditingVector]:
        """Adds measurements of several versions in one transaction: all of them or none.

        Args:
            metrics: at least one for every address, as of `add_metrics`.
            reason: why, for the history of each.
            class_name: the class for addresses without one.

        Returns:
            The versions as they are now, in the order of their addresses.

        Raises:
            RegistryError: as `add_metrics` does.

        Example:
            >>> from editvec.registry.entities.vectors import NewMetric
            >>> found = NewMetric(name="overlap", value=0.3)
            >>> stored = library.add_metrics_of_several({"smile": [found], "frown": [found]})
            >>> [one.address for one in stored]
            ['avatars/smile@1', 'avatars/frown@1']
        """
        added = [[metric_row(metric) for metric in some] for some in metrics.values()]
        if not all(added):
            raise RecordError("metrics: expected one at least")
        with changing(self.engine, list(metrics), class_name) as change:
            rows = change.rows()
            for row, measured in zip(rows, added, strict=True):
                row.metrics.extend(measured)
                mark_latest(row.metrics)
                values = [{"name": one.name, "value": one.value} for one in measured]
                change.record("measure", row.address, reason, {"metrics": values})
            return [change.result(row) for row in rows]


class ScaleRanges:
    """The part of the library that keeps the scales at which vectors are usable."""

    engine: Engine

    def set_scale_range(
        self,
        address: str,
        low: float,
        high: float,
        *,
        reason: str = "",
        class_name: str | None = None,
    ) -> EditingVector:
        """Says at which scales a version is usable; the history keeps what was said before.

        Args:
            address: without a version, the newest that is not retired.
            low: the least usable scale.
            high: the largest; the default scale lies between them.
            reason: why, for the history.
            class_name: the class for an address without one.

        Raises:
            VectorNotFoundError: no such vector or version.
            RecordError: no range, or one without the default scale.
            InvalidNameError: not an address.

        Example:
            >>> library.set_scale_range("smile", -0.5, 1.5, reason="measured").scale_max
            1.5
        """
        checked_number(low, of="scale minimum")
        checked_number(high, of="scale maximum")
        with changing(self.engine, [address], class_name) as change:
            (row,) = change.rows()
            if not low <= row.default_scale <= high:
                raise RecordError(
                    f"scale range of {row.address}: expected one that holds its default scale "
                    f"{row.default_scale:g}, got {low:g} to {high:g}"
                )
            before = (row.scale_min, row.scale_max)
            if before != (low, high):
                row.scale_min, row.scale_max = low, high
                details = {"scale_range": {"from": list(before), "to": [low, high]}}
                change.record("calibrate", row.address, reason, details)
            return change.result(row)
