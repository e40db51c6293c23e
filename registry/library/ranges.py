"""The usable range of stored vectors, once it is measured."""

from __future__ import annotations

from sqlalchemy import Engine

from editvec.registry.entities.vectors import EditingVector
from editvec.registry.errors import RecordError
from editvec.registry.library.changes import changing
from editvec.registry.library.checks import checked_number


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
