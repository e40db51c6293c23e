"""What classes are compared by: defaults and ranges. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import Fit
from editvec.settings import check_settings, setting


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What classes are compared by.

    Attributes:
        photographs: Folder of photographs; None takes samples of the first class.
        pairs: Folder of annotated images, as `train segmentation` takes it; None leaves mIoU out.
        count: Images to reconstruct.
        steps: Of inversion after the encoder, or from `w_avg`.
        fit: How a picture of another shape becomes a square.
        seed: Of samples.
    """

    photographs: Path | None = setting(
        None,
        kind=Path,
        help="Photographs to reconstruct. [default: samples of the first class]",
    )
    pairs: Path | None = setting(
        None,
        kind=Path,
        help="Annotated images, as `train segmentation` takes them, to measure mIoU on.",
    )
    count: int = setting(32, least=1, help="Images.")
    steps: int = setting(
        50, least=1, help="Of inversion after the encoder; from w_avg without one."
    )
    fit: Fit = setting(Fit.CROP)
    seed: int = setting(0, least=0, help="Of samples.")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: One is out of its range.
        """
        check_settings(self, SettingsError)
        object.__setattr__(self, "fit", Fit(self.fit))  # as typed, it is a text
