from collections.abc import Sequence

import pytest
import torch

from editvec.batch.chunks.isolation import isolated
from editvec.batch.errors import DeviceLostError


def test_one_bad_input_fails_alone_and_the_others_keep_their_order() -> None:
    def compute(numbers: Sequence[int]) -> list[int]:
        if 5 in numbers:
            raise ValueError("five is bad\nsecond line")
        return [number * 10 for number in numbers]

    outcomes = list(isolated(range(8), compute))

    results = {n: r for o in outcomes if o.result for n, r in zip(o.inputs, o.result, strict=True)}
    assert results == {n: n * 10 for n in range(8) if n != 5}
    assert [(list(o.inputs), o.reason) for o in outcomes if o.result is None] == [
        ([5], "five is bad")
    ]


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    sizes = []

    def compute(numbers: Sequence[int]) -> list[int]:
        if len(numbers) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(numbers))
        return list(numbers)

    done = [n for outcome in isolated(range(12), compute) for n in outcome.inputs]

    assert done == list(range(12))
    assert sizes == [3, 3, 3, 3]


def test_a_dead_device_is_no_input_s_fault() -> None:
    def compute(numbers: Sequence[int]) -> list[int]:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(DeviceLostError, match="illegal memory access"):
        list(isolated(range(4), compute))
