"""Derivatives of functions that make their own."""

import torch


def refuse_second_derivative(what: str) -> None:
    """Call it in the backward pass of a function that has a first derivative only.

    `once_differentiable` refuses less: a graph of the first derivative is built without a word
    where the gradient that comes in has none itself.

    Raises:
        RuntimeError: The derivative is to be derived.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"{what} has a first derivative only: create_graph must be False")
