import pytest
import torch
from torch import Tensor

from editvec.engine.editing.descent import constant_rate, descend, ramped_rate
from editvec.engine.editing.losses import LossTerms
from editvec.engine.errors import NonFiniteError


class Quadratic:
    """Sum of curvature * (x - target)^2 per sample; remembers where it was asked."""

    def __init__(self, target: Tensor, curvature: float = 1.0) -> None:
        self.target = target
        self.curvature = curvature
        self.asked: list[Tensor] = []
        self.with_graph: list[bool] = []
        self.parent: Quadratic | None = None

    def select(self, index: Tensor) -> "Quadratic":
        selected = Quadratic(self.target[index], self.curvature)
        selected.parent = self
        return selected

    def __call__(self, variable: Tensor) -> LossTerms:
        self.asked.append(variable.detach().clone())
        self.with_graph.append(variable.requires_grad and torch.is_grad_enabled())
        total = self.curvature * (variable - self.target).square().sum(dim=(1, 2))
        return LossTerms(total, *[torch.zeros_like(total)] * 5)


@pytest.fixture
def target() -> Tensor:
    return torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_iterates_are_those_of_adam(target: Tensor) -> None:
    objective = Quadratic(target)
    expected = torch.zeros_like(target, requires_grad=True)
    optimizer = torch.optim.Adam([expected], lr=0.02)

    descend(objective, torch.zeros_like(target), num_steps=20, learning_rate=constant_rate(0.02))

    for step, variable in enumerate(objective.asked):
        torch.testing.assert_close(variable, expected.detach(), atol=1e-12, rtol=0, msg=str(step))
        optimizer.zero_grad()
        (expected - target).square().sum().backward()
        optimizer.step()


def test_num_steps_updates_make_one_more_iterate_measured_without_a_graph(target: Tensor) -> None:
    objective, seen = Quadratic(target), []

    result = descend(
        objective,
        torch.zeros_like(target),
        num_steps=7,
        learning_rate=constant_rate(0.02),
        on_step=seen.append,
    )

    assert objective.with_graph == [True] * 7 + [False]
    assert [step.step for step in seen] == list(range(8))
    assert {step.num_steps for step in seen} == {7}
    assert result.steps_taken.tolist() == [7, 7, 7]


def test_each_loss_belongs_to_the_iterate_it_was_measured_at(target: Tensor) -> None:
    objective = Quadratic(target)

    result = descend(
        objective, torch.zeros_like(target), num_steps=5, learning_rate=constant_rate(0.1)
    )

    expected = torch.stack([(x - target).square().sum(dim=(1, 2)) for x in objective.asked])
    torch.testing.assert_close(result.losses, expected)
    torch.testing.assert_close(result.losses[0], target.square().sum(dim=(1, 2)))


def test_the_best_iterate_of_each_sample_is_returned_and_not_the_last(target: Tensor) -> None:
    objective = Quadratic(target * torch.tensor([0.1, 1.0, 3.0])[:, None, None])

    result = descend(
        objective, torch.zeros_like(target), num_steps=30, learning_rate=constant_rate(0.7)
    )

    best_steps = result.losses.argmin(dim=0)
    assert len(set(best_steps.tolist())) > 1
    assert not torch.equal(result.best, objective.asked[-1])
    for sample, step in enumerate(best_steps.tolist()):
        assert torch.equal(result.best[sample], objective.asked[step][sample])
        assert result.terms.total[sample] == result.losses[:, sample].min()


def test_the_start_is_neither_changed_nor_aliased(target: Tensor) -> None:
    start = torch.zeros_like(target)
    at_minimum = descend(
        Quadratic(start.clone()), start, num_steps=3, learning_rate=constant_rate(0.1)
    )
    descend(Quadratic(target), start, num_steps=3, learning_rate=constant_rate(0.1))

    assert start.abs().max() == 0
    assert at_minimum.best.data_ptr() != start.data_ptr()
    assert at_minimum.best.abs().max() == 0


def test_accepted_samples_stop_and_leave_the_others_as_they_would_be_alone(target: Tensor) -> None:
    def accept(terms: LossTerms) -> Tensor:
        return terms.total <= 2.0

    scaled = target * torch.tensor([0.1, 0.5, 5.0])[:, None, None]
    together = descend(
        Quadratic(scaled),
        torch.zeros_like(target),
        num_steps=40,
        learning_rate=constant_rate(0.05),
        accept=accept,
    )

    steps = together.steps_taken.tolist()
    assert steps[0] == 0
    assert 0 < steps[1] < 40
    assert steps[2] == 40
    assert together.terms.total[1] <= 2.0
    for sample in range(3):
        alone = descend(
            Quadratic(scaled[sample : sample + 1]),
            torch.zeros_like(target[:1]),
            num_steps=40,
            learning_rate=constant_rate(0.05),
            accept=accept,
        )
        assert alone.steps_taken.item() == steps[sample]
        torch.testing.assert_close(together.best[sample], alone.best[0], atol=1e-12, rtol=0)


def test_masked_rows_stay_where_they_start(target: Tensor) -> None:
    rows = torch.tensor([True, False, True, False])

    result = descend(
        Quadratic(target),
        torch.zeros_like(target),
        num_steps=5,
        learning_rate=constant_rate(0.1),
        row_mask=rows,
    )

    assert result.best[:, ~rows].abs().max() == 0
    assert result.best[:, rows].abs().min() > 0


def test_a_loss_that_is_not_finite_names_its_sample(target: Tensor) -> None:
    target = target.clone()
    target[1] = torch.nan

    with pytest.raises(NonFiniteError, match="after 0 steps in sample 1"):
        descend(
            Quadratic(target),
            torch.zeros_like(target),
            num_steps=2,
            learning_rate=constant_rate(0.1),
        )


def test_it_works_inside_inference_mode(target: Tensor) -> None:
    with torch.inference_mode():
        result = descend(
            Quadratic(target),
            torch.zeros(3, 4, 5, dtype=torch.float64),
            num_steps=2,
            learning_rate=constant_rate(0.1),
        )

    assert (result.losses[-1] < result.losses[0]).all()


def test_the_embedding_rate_ramps_up_and_falls_over_the_last_quarter() -> None:
    rate = ramped_rate(0.1, 100)
    rates = [rate(step) for step in range(100)]

    assert 0 < rates[0] < rates[2] < rates[4] == pytest.approx(0.1)
    assert rates[5:74] == pytest.approx([0.1] * 69)
    assert sorted(rates[76:], reverse=True) == rates[76:]
    assert 0 < rates[-1] < 0.001
    assert ramped_rate(0.1, 1)(0) > 0
