"""Adam on latents, with the best iterate of each sample and an early stop for each of them."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from editvec.engine.editing.losses import LossTerms, Objective
from editvec.engine.errors import NonFiniteError

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class DescentStep(NamedTuple):
    """What one iterate measured, before it was updated.

    Attributes:
        step: Updates made before; 0 is the start, `num_steps` the last iterate.
        num_steps: Updates that were asked for.
        samples: [M], the samples that still run.
        terms: Their losses at this iterate, [M] each.
    """

    step: int
    num_steps: int
    samples: Tensor
    terms: LossTerms


OnStep = Callable[[DescentStep], None]


class Descent(NamedTuple):
    """Result of `descend`.

    Attributes:
        best: [N, rows, w_dim], the iterate of each sample with the lowest total loss, or the
            first one that was accepted.
        losses: [num_steps + 1, N], `losses[t]` is the total loss after t updates; a sample that
            was accepted keeps its last value.
        terms: Losses at `best`, [N] each.
        steps_taken: [N], updates made before a sample stopped.
    """

    best: Tensor
    losses: Tensor
    terms: LossTerms
    steps_taken: Tensor


def descend(
    objective: Objective,
    start: Tensor,
    *,
    num_steps: int,
    learning_rate: Callable[[int], float],
    row_mask: Tensor | None = None,
    accept: Callable[[LossTerms], Tensor] | None = None,
    on_step: OnStep | None = None,
) -> Descent:
    """Minimise the sum of the samples' losses with Adam (Kingma and Ba 2015).

    A loss belongs to the iterate that it was measured at: `num_steps` updates make
    `num_steps + 1` iterates, and the last one is measured without a graph. Adam is element-wise,
    so samples do not influence each other.

    Args:
        objective: Losses of the variable.
        start: [N, rows, w_dim]; not changed.
        num_steps: Updates, at least 0.
        learning_rate: Of the update with this number, from 0.
        row_mask: bool [rows]; rows where it is False stay as they are. None is all rows.
        accept: Tells from a sample's losses whether it may stop, bool [M]. An accepted sample
            leaves the batch and costs nothing any more.
        on_step: Called with every iterate's losses.

    Raises:
        NonFiniteError: A loss is NaN or infinite.
    """
    with torch.inference_mode(False), torch.enable_grad():
        variable = start.detach().clone()
        active = torch.arange(len(variable), device=variable.device)
        best = _Best(variable, num_steps=num_steps)
        adam = _Adam(variable)
        for step in range(num_steps + 1):
            last = step == num_steps
            with torch.set_grad_enabled(not last):
                terms = objective(variable.requires_grad_(not last))
            measured = terms.detach()
            _check_losses(measured.total, active, step=step)
            accepted = None if accept is None else accept(measured)
            best.update(variable.detach(), measured, active, step=step, accepted=accepted)
            if on_step is not None:
                on_step(DescentStep(step, num_steps, active, measured))
            if last or (accepted is not None and bool(accepted.all())):
                break
            (gradient,) = torch.autograd.grad(terms.total.sum(), variable)
            if row_mask is not None:
                gradient = gradient * row_mask[:, None]
            variable = variable.detach() - learning_rate(step) * adam.direction(gradient)
            if accepted is not None and bool(accepted.any()):
                rest = (~accepted).nonzero()[:, 0]
                objective, active = objective.select(rest), active[rest]
                variable = variable[rest]
                adam.select(rest)
    return best.result()


def constant_rate(learning_rate: float) -> Callable[[int], float]:
    """The same rate for every update."""
    return lambda step: learning_rate


def ramped_rate(
    learning_rate: float, num_steps: int, *, up: float = 0.05, down: float = 0.25
) -> Callable[[int], float]:
    """Linear ramp over the first `up` of the updates, cosine to 0 over the last `down`."""

    def rate(step: int) -> float:
        progress = (step + 1) / num_steps
        fall = min(1.0, (num_steps - step) / (num_steps + 1) / down)
        return learning_rate * min(1.0, progress / up) * (0.5 - 0.5 * math.cos(math.pi * fall))

    return rate


class _Adam:
    """Moments of the gradient, element-wise."""

    def __init__(self, variable: Tensor) -> None:
        self.first = torch.zeros_like(variable)
        self.second = torch.zeros_like(variable)
        self.count = 0

    def direction(self, gradient: Tensor) -> Tensor:
        """The step for a learning rate of 1."""
        self.count += 1
        self.first = BETAS[0] * self.first + (1 - BETAS[0]) * gradient
        self.second = BETAS[1] * self.second + (1 - BETAS[1]) * gradient.square()
        mean = self.first / (1 - BETAS[0] ** self.count)
        deviation = (self.second / (1 - BETAS[1] ** self.count)).sqrt()
        return mean / (deviation + EPSILON)

    def select(self, index: Tensor) -> None:
        """Keep the samples of `index`."""
        self.first, self.second = self.first[index], self.second[index]


class _Best:
    """The best iterate of each sample so far, copied, and the record of the losses."""

    def __init__(self, start: Tensor, *, num_steps: int) -> None:
        self.values = start.clone()
        self.steps_taken = torch.full((len(start),), num_steps, device=start.device)
        self.losses = start.new_full((num_steps + 1, len(start)), torch.inf)
        self.terms = LossTerms(*(start.new_full((len(start),), torch.inf) for _ in range(6)))

    def update(
        self,
        variable: Tensor,
        terms: LossTerms,
        active: Tensor,
        *,
        step: int,
        accepted: Tensor | None,
    ) -> None:
        """Take the samples of `active` that are better than before or accepted."""
        self.losses[step:, active] = terms.total
        better = terms.total < self.terms.total[active]
        if accepted is not None:
            better |= accepted
            self.steps_taken[active[accepted]] = step
        chosen = active[better]
        self.values[chosen] = variable[better]
        for record, term in zip(self.terms, terms, strict=True):
            record[chosen] = term[better]

    def result(self) -> Descent:
        """The record as a result."""
        return Descent(self.values, self.losses, self.terms, self.steps_taken)


def _check_losses(total: Tensor, active: Tensor, *, step: int) -> None:
    finite = torch.isfinite(total)
    if not bool(finite.all()):
        samples = active[~finite].tolist()
        raise NonFiniteError(
            f"loss: expected finite values, got NaN or infinity after {step} steps "
            f"in sample {', '.join(map(str, samples))}"
        )
