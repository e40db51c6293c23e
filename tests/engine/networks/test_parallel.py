"""Parts of a batch on threads of their own."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from editvec.engine.networks.parallel import map_parts


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_results_come_in_order_and_have_no_gradient(count: int) -> None:
    parts = list(torch.randn(count, 5, requires_grad=True).unbind()) if count else []

    made = map_parts(lambda part: part * 2, parts)

    assert [one.tolist() for one in made] == [(part * 2).tolist() for part in parts]
    assert not any(one.requires_grad for one in made)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("count", "each"), [(1, 3), (2, 1), (5, 1)])
def test_each_part_has_its_share_of_the_threads(count: int, each: int) -> None:
    others = threading.Barrier(min(count, 3))

    def made(part: int) -> tuple[int, int]:
        if part < min(count, 3):
            others.wait(timeout=30)  # so many are at work at the same time
        return part, torch.get_num_threads()

    assert map_parts(made, range(count)) == [(part, each) for part in range(count)]
    assert torch.get_num_threads() == 3
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [3]


@pytest.mark.usefixtures("three_threads")
def test_the_first_failure_is_raised() -> None:
    def fail(part: Tensor) -> Tensor:
        if part >= 1:
            raise MemoryError(f"part {int(part)}")
        return part

    with pytest.raises(MemoryError, match="part 1"):
        map_parts(fail, list(torch.arange(4)))
