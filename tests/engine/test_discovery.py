"""Boundaries and factorisations are what scipy, scikit-learn and numpy say, and what is known."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from editvec.engine.bundle.bundle import LoadedBundle
from editvec.engine.discovery import (
    LEAST_KEPT,
    conditioned,
    deviation_along,
    factorise,
    margin_between,
    mean_boundary,
    modulation_weights,
    principal_components,
    svm_boundary,
)
from editvec.engine.errors import (
    EngineSettingsError,
    MissingPackageError,
    NonFiniteError,
    ShapeError,
)
from editvec.engine.networks.generator import Synthesis
from editvec.engine.networks.layers import FullyConnected

Fit = Callable[[Tensor, Tensor], object]


def points(count: int, size: int, *, seed: int, shift: float = 0.0) -> Tensor:
    """Correlated points, `shift` further along (1, 1, ...)."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(size, size))
    return torch.from_numpy(random.normal(size=(count, size)) @ mixing + shift)


def mirrored(normal: Tensor, center: Tensor, *, distance: float) -> tuple[Tensor, Tensor]:
    """Two sets of points that mirror each other in a hyperplane, at least `distance` away."""
    along = points(40, len(normal), seed=3)
    across = along - (along @ normal)[:, None] * normal
    away = distance + along[:, :1].abs()
    return center + across + away * normal, center + across - away * normal


# Boundaries.


@pytest.mark.parametrize("fit", [svm_boundary, mean_boundary])
def test_sets_that_mirror_each_other_have_the_mirror_as_boundary(fit: Fit) -> None:
    normal = torch.tensor([2.0, -1.0, 0.0, 2.0], dtype=torch.float64) / 3
    center = torch.tensor([5.0, 1.0, -2.0, 0.5], dtype=torch.float64)
    positive, negative = mirrored(normal, center, distance=0.5)

    found = fit(positive, negative)

    torch.testing.assert_close(found.normal, normal, atol=1e-5, rtol=0)
    assert found.offset == pytest.approx(float(normal @ center), abs=1e-4)
    assert found.accuracy(positive, negative) == 1
    assert found.accuracy(negative, positive) == 0
    apart = margin_between(found.normal, positive, negative)
    assert apart == pytest.approx(float((positive - negative).mean(dim=0) @ normal), rel=1e-6)


def test_the_support_vector_machine_minimises_its_own_objective() -> None:
    positive, negative = points(60, 3, seed=0, shift=0.7), points(25, 3, seed=1, shift=-0.7)
    everything = torch.cat([positive, negative]).numpy()
    size = np.sqrt(everything.var(axis=0).mean())
    inputs = (everything - everything.mean(axis=0)) / size
    signs = np.r_[np.ones(60), -np.ones(25)]
    weights = np.r_[np.full(60, 85 / 120), np.full(25, 85 / 50)]  # both labels weigh alike

    def objective(values: np.ndarray) -> float:
        hinge = np.maximum(0, 1 - signs * (inputs @ values[:3] + values[3]))
        return float(values @ values / 2 + (weights * hinge**2).sum())

    best = minimize(objective, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x

    found = svm_boundary(positive, negative)

    np.testing.assert_allclose(found.normal, best[:3] / np.linalg.norm(best[:3]), atol=1e-4)
    far = torch.from_numpy(everything)
    expected = (inputs @ best[:3] + best[3]) * size / np.linalg.norm(best[:3])
    np.testing.assert_allclose(found.side(far), expected, atol=1e-3)


def test_the_support_vector_machine_is_that_of_scikit_learn() -> None:
    from sklearn.svm import LinearSVC

    positive, negative = points(50, 6, seed=4, shift=0.4), points(50, 6, seed=5, shift=-0.4)
    inputs = torch.cat([positive, negative]).numpy()
    # its points have mean 0 and variance 1, so that nothing is left to be scaled
    inputs = (inputs - inputs.mean(axis=0)) / np.sqrt(inputs.var(axis=0).mean())
    machine = LinearSVC(dual=False, tol=1e-6, max_iter=10_000).fit(inputs, [1] * 50 + [0] * 50)
    expected = machine.coef_[0] / np.linalg.norm(machine.coef_[0])

    found = svm_boundary(torch.from_numpy(inputs[:50]), torch.from_numpy(inputs[50:]))

    np.testing.assert_allclose(found.normal, expected, atol=1e-8)
    length = np.linalg.norm(machine.coef_[0])
    assert found.offset == pytest.approx(-float(machine.intercept_[0]) / length, abs=1e-8)


def test_moving_and_scaling_all_points_moves_and_scales_the_boundary() -> None:
    positive, negative = points(50, 4, seed=6, shift=0.5), points(50, 4, seed=7, shift=-0.5)
    moved = torch.tensor([3.0, 0.0, -8.0, 100.0], dtype=torch.float64)

    found = svm_boundary(positive, negative)
    other = svm_boundary(positive * 20 + moved, negative * 20 + moved)

    torch.testing.assert_close(other.normal, found.normal, atol=1e-6, rtol=0)
    assert other.offset == pytest.approx(20 * found.offset + float(found.normal @ moved), abs=1e-3)


def test_the_mean_boundary_lies_half_way_between_the_means() -> None:
    positive, negative = points(9, 5, seed=8), points(30, 5, seed=9, shift=2.0)
    apart = positive.numpy().mean(axis=0) - negative.numpy().mean(axis=0)

    found = mean_boundary(positive.float(), negative.float())

    np.testing.assert_allclose(found.normal, apart / np.linalg.norm(apart), atol=1e-6)
    middle = (positive.mean(dim=0) + negative.mean(dim=0)) / 2
    assert float(found.side(middle[None])) == pytest.approx(0, abs=1e-6)


def test_accuracy_weighs_both_labels_alike() -> None:
    found = mean_boundary(torch.tensor([[1.0]]), torch.tensor([[-1.0]]))

    right = found.accuracy(torch.ones(99, 1), torch.tensor([[1.0], [-1.0]]))

    assert right == pytest.approx((1.0 + 0.5) / 2)


@pytest.mark.parametrize("fit", [svm_boundary, mean_boundary])
def test_labels_of_copies_of_one_latent_have_no_boundary(fit: Fit) -> None:
    with pytest.raises(EngineSettingsError):
        fit(torch.ones(8, 3), torch.ones(8, 3))


@pytest.mark.parametrize("fit", [svm_boundary, mean_boundary])
def test_what_is_no_set_of_points_is_refused(fit: Fit) -> None:
    with pytest.raises(ShapeError, match=r"negative: expected \[N, D\]"):
        fit(torch.ones(8, 3), torch.ones(0, 3))


@pytest.mark.parametrize("fit", [svm_boundary, mean_boundary])
@pytest.mark.parametrize("width", [1, 2])
def test_points_of_different_dimensions_are_refused(fit: Fit, width: int) -> None:
    with pytest.raises(ShapeError, match=r"negative: expected \[N, 3\] as positive"):
        fit(torch.randn(8, 3), torch.randn(8, width))


@pytest.mark.parametrize("fit", [svm_boundary, mean_boundary])
def test_points_that_are_no_numbers_are_refused(fit: Fit) -> None:
    with pytest.raises(NonFiniteError, match="positive: expected finite values"):
        fit(torch.full((8, 3), torch.nan), torch.randn(8, 3))


def test_without_scikit_learn_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)

    with pytest.raises(MissingPackageError, match=r"pip install 'editvec\[discover\]'"):
        svm_boundary(torch.eye(3), -torch.eye(3))


# Conditions.


def test_a_conditioned_normal_is_what_the_others_leave() -> None:
    others = [row / row.norm() for row in points(3, 8, seed=10)]
    start = points(1, 8, seed=11)[0]
    start = start / start.norm()
    basis = torch.stack(others).T.numpy()
    fitted, *_ = np.linalg.lstsq(basis, start.numpy(), rcond=None)
    residual = start.numpy() - basis @ fitted

    made = conditioned(start, others)

    np.testing.assert_allclose(made.normal, residual / np.linalg.norm(residual), atol=1e-12)
    assert made.kept == pytest.approx(np.linalg.norm(residual))
    assert made.kept == pytest.approx(float(made.normal @ start))
    for other in others:
        assert abs(float(made.normal @ other)) < 1e-14


def test_conditions_that_say_the_same_count_once() -> None:
    start = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    one = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)

    made = conditioned(start, [one, -one, one * 3])

    torch.testing.assert_close(made.normal, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    assert made.kept == pytest.approx(0.8)


def test_without_conditions_a_normal_stays() -> None:
    start = torch.tensor([0.6, 0.8], dtype=torch.float64)

    assert torch.equal(conditioned(start, []).normal, start)


@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_what_is_no_normal_cannot_be_conditioned(value: float) -> None:
    with pytest.raises(EngineSettingsError, match="conditional"):
        conditioned(torch.full((3,), value), [torch.tensor([1.0, 0.0, 0.0])])


def test_a_normal_of_which_nothing_is_left_is_refused() -> None:
    angle = 0.9 * LEAST_KEPT
    start = torch.tensor([np.cos(angle), np.sin(angle)])

    with pytest.raises(EngineSettingsError, match="conditional: 9% of smiling is left"):
        conditioned(start, [torch.tensor([1.0, 0.0])], of="smiling")


# Factorisations.


def test_modulation_weights_are_what_moves_the_styles_of_a_row(loaded: LoadedBundle) -> None:
    synthesis = loaded.generator.synthesis
    num_ws, w_dim = synthesis.config.num_ws, synthesis.config.w_dim
    for row in range(num_ws):
        moved = [_styles_moved_by(synthesis, row, column) for column in range(w_dim)]
        matrix = torch.stack(moved, dim=1)

        found = modulation_weights(synthesis, [row])

        torch.testing.assert_close(found, matrix, atol=1e-9, rtol=0)
    both = modulation_weights(synthesis, [3, 1])
    single = [modulation_weights(synthesis, [row]) for row in (1, 3)]
    assert torch.equal(both, torch.cat(single))


@torch.no_grad()
def _styles_moved_by(synthesis: Synthesis, row: int, column: int) -> Tensor:
    """How a unit step of one value of ws changes styles: of convolutions, or else of colours."""
    seen: list[dict[str, Tensor]] = []
    hooks = [
        layer.register_forward_hook(
            lambda _layer, _inputs, output, name=name: seen[-1].update({name: output[0]})
        )
        for name, layer in synthesis.named_modules()
        if isinstance(layer, FullyConnected)
    ]
    ws = torch.zeros(1, synthesis.config.num_ws, synthesis.config.w_dim, dtype=torch.float64)
    for step in (0.0, 1.0):
        seen.append({})
        ws[0, row, column] = step
        synthesis(ws)
    for hook in hooks:
        hook.remove()
    changes = {name: seen[1][name] - seen[0][name] for name in seen[0]}
    of_row = {name: change for name, change in changes.items() if change.abs().max() > 0}
    convolutions = [change for name, change in of_row.items() if ".conv" in name]
    return (convolutions or list(of_row.values()))[0]


@pytest.mark.parametrize("rows", [[], [-1], [0, 6]])
def test_rows_that_are_not_there_are_refused(loaded: LoadedBundle, rows: list[int]) -> None:
    with pytest.raises(EngineSettingsError, match="rows: expected rows from 0 to 5, got"):
        modulation_weights(loaded.generator.synthesis, rows)


def test_factors_are_the_right_singular_vectors_of_the_weights() -> None:
    weights = points(20, 6, seed=12)
    _, singular, vectors = np.linalg.svd(weights.numpy(), full_matrices=False)

    found = factorise(weights)

    np.testing.assert_allclose(found.strengths, singular**2)
    for direction, vector in zip(found.directions.numpy(), vectors, strict=True):
        assert abs(float(direction @ vector)) == pytest.approx(1)
        assert direction[np.abs(direction).argmax()] > 0


def test_principal_components_are_the_eigenvectors_of_the_covariance() -> None:
    sampled = points(500, 5, seed=13, shift=4.0)
    variances, vectors = np.linalg.eigh(np.cov(sampled.numpy().T, bias=True))

    found = principal_components(sampled)

    np.testing.assert_allclose(found.strengths, variances[::-1])
    for direction, vector in zip(found.directions.numpy(), vectors.T[::-1], strict=True):
        assert abs(float(direction @ vector)) == pytest.approx(1)
    deviations = deviation_along(sampled, found.directions)
    np.testing.assert_allclose(deviations, np.sqrt(variances[::-1]))


def test_the_sign_of_a_direction_does_not_depend_on_that_of_the_data() -> None:
    sampled = points(50, 4, seed=14)

    torch.testing.assert_close(factorise(sampled).directions, factorise(-sampled).directions)
    torch.testing.assert_close(
        principal_components(sampled).directions, principal_components(-sampled).directions
    )
