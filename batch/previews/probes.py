"""Which images a preview edits, and at which scales: defaults and ranges. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from editvec.batch.errors import SettingsError
from editvec.settings import check_settings, setting

SWEEP = "-2:2:5"
"""Scales of a preview for which none are asked: first, last and how many."""


@dataclass(frozen=True, kw_only=True)
class PreviewProbes:
    """The images that a preview edits.

    Attributes:
        count: at most so many.
        seed: of sampled images.
        folder: take the first images of a folder, in the order of their names; None samples.
    """

    count: int = setting(4, least=1, most=32, help="Rows.")
    seed: int = setting(0, least=0, help="Of samples.")
    folder: Path | None = setting(
        None, kind=Path, help="Edit the first images of a folder instead of samples."
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: One is out of its range.
        """
        check_settings(self, SettingsError)
