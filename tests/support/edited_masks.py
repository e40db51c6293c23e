"""An edit that a generator of the tests can make: the masks before and after it."""

import torch
from torch import Tensor

from editvec.engine.editing.editing import segment
from editvec.engine.editing.losses import Networks

ROI_LABELS = [5]


def edited_masks(networks: Networks, ws: Tensor) -> tuple[Tensor, Tensor]:
    """Masks before and after an edit that the generator can make."""
    random = torch.Generator().manual_seed(1)
    moved = ws + 0.5 * torch.randn(ws.shape, generator=random, dtype=ws.dtype)
    return segment(networks, ws), segment(networks, moved)
