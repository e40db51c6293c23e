"""A mini-batch on its way through an edit: latents, what recipes share, pictures, variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class PictureChange(NamedTuple):
    """What an edit adds at the generator's resolution.

    Attributes:
        added: in units of [-1, 1], float32 [3, H, W].
        region: where, bool [H, W].
    """

    added: npt.NDArray[np.float32]
    region: npt.NDArray[np.bool_]


class Seen(NamedTuple):
    """Pictures of latents.

    Attributes:
        images: [N, 3, H, W], about [-1, 1].
        mask: labels [N, H, W]; None of a class that makes no masks.
        uncertainty: [N, H, W] in nats, where it was asked for.
    """

    images: Tensor
    mask: Tensor | None
    uncertainty: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Latents:
    """Embedded inputs: one row for each.

    Attributes:
        ws: [N, num_ws, w_dim].
        reconstruction: metrics of each reconstruction; empty for sampled inputs.
        seen: G(ws), where it was made already.
    """

    ws: Tensor
    reconstruction: list[dict[str, float | None]]
    seen: Seen | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A mini-batch that is ready to be edited.

    Attributes:
        positions: of the inputs in the run.
        images: what the edit is composited into, [N, 3, H, W] in [-1, 1].
        ws: [N, num_ws, w_dim].
        before: G(ws), [N, 3, H, W]; None where nothing needs it.
        mask_before: labels of G(ws), [N, H, W]; None likewise, and where no masks are made.
        wanted_masks: [N, H, W], of mode optimize; `IGNORED` where nothing is wanted.
        reconstruction: metrics of each reconstruction.
    """

    positions: list[int]
    images: Tensor
    ws: Tensor
    before: Tensor | None
    mask_before: Tensor | None
    wanted_masks: Tensor | None
    reconstruction: list[dict[str, float | None]]

    def select(self, rows: Sequence[int]) -> Prepared:
        """The same for some of the inputs."""
        index = torch.as_tensor(rows, device=self.ws.device)

        def pick(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[index]

        return Prepared(
            positions=[self.positions[row] for row in rows],
            images=self.images[index],
            ws=self.ws[index],
            before=pick(self.before),
            mask_before=pick(self.mask_before),
            wanted_masks=pick(self.wanted_masks),
            reconstruction=[self.reconstruction[row] for row in rows],
        )


class Edited(NamedTuple):
    """Pictures of edited latents, before compositing, and what was measured of them.

    Attributes:
        images: [N, 3, H, W].
        masks: label indices [N, H, W]; None of a class that makes no masks.
        roi: bool [N, 1, H, W]; None where nothing says what may change.
        leakage: a row for each; empty without an ROI.
        success: IoU inside the ROI with the wanted masks, where there are any.
        uncertainty: in nats, where it was asked for.
    """

    images: Tensor
    masks: Tensor | None
    roi: Tensor | None = None
    leakage: Sequence[dict[str, float | None]] = ()
    success: Sequence[float | None] | None = None
    uncertainty: Sequence[float | None] | None = None


class Variant(NamedTuple):
    """One recipe applied to a mini-batch.

    Attributes:
        images: [N, 3, H, W] in [-1, 1], before rounding.
        pixels: uint8 [N, H, W, 3].
        masks: label indices [N, H, W]; None of a class that makes no masks.
        metrics: what was measured, for each.
        changes: for outputs of the pictures' own sizes; None where nothing may change.
    """

    images: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.integer[Any]] | None
    metrics: list[dict[str, Any]]
    changes: list[PictureChange] | None = None
