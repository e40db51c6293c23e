import torch

from editvec.engine.segmentation.resampling import Scratch


def test_a_name_gives_the_same_memory_as_long_as_it_suffices() -> None:
    scratch = Scratch(like=torch.zeros(1, dtype=torch.float64))

    large = scratch.take("a", (4, 6))
    small = scratch.take("a", (3, 5))
    other = scratch.take("b", (3, 5))

    assert (large.shape, small.shape, small.dtype) == ((4, 6), (3, 5), torch.float64)
    assert large.data_ptr() == small.data_ptr() != other.data_ptr()
    assert small.is_contiguous()
    assert scratch.take("a", (5, 6)).numel() == 30
