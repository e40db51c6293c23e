import pytest
import torch

from editvec.engine.errors import ShapeError
from editvec.engine.segmentation.labels import likeliest_labels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 2, 11, 300])
def test_labels_are_those_of_the_highest_logits(count: int, dtype: torch.dtype) -> None:
    seg_logits = torch.randn(3, count, 9, 7).to(dtype)
    seg_logits[0] = seg_logits[0].round()  # equal ones: the first counts

    mask = likeliest_labels(seg_logits.transpose(2, 3))

    assert mask.dtype == torch.int64
    assert torch.equal(mask, seg_logits.transpose(2, 3).argmax(dim=1))


@torch.inference_mode()
def test_logits_stay_as_they_are() -> None:
    seg_logits = torch.randn(1, 1, 4, 4)
    before = seg_logits.clone()

    assert not likeliest_labels(seg_logits).any()
    assert torch.equal(seg_logits, before)


def test_anything_but_maps_is_refused() -> None:
    for shape in ((4, 4, 4), (1, 0, 4, 4)):
        with pytest.raises(ShapeError, match=r"seg_logits: expected \[N, K, H, W\]"):
            likeliest_labels(torch.zeros(shape))


def test_logits_with_a_gradient_have_labels_too() -> None:
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)

    assert torch.equal(likeliest_labels(logits), logits.argmax(dim=1))
