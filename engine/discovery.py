"""Finding directions in W: linear boundaries between labelled latents, and factorisations.

    Boundary              a hyperplane, and what fits one: `svm_boundary`, `mean_boundary`
    conditioned           a normal without what others say (Shen et al. 2020, section 3.3)
    modulation_weights    the affine maps from W to styles, of chosen rows of ws
    factorise             their strongest directions in closed form (Shen and Zhou 2021)
    principal_components  of sampled w (Harkonen et al. 2020)

Nothing here knows images. Everything is computed in float64 on the CPU, so that equal arguments
give equal directions, and a direction's sign does not depend on the linear algebra library.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, MissingPackageError, ShapeError
from editvec.engine.networks.generator import Synthesis
from editvec.engine.networks.layers import SynthesisLayer, ToRGB
from editvec.engine.shapes import block_resolutions, check_finite

LEAST_KEPT = 0.1
"""Of a normal after conditioning: what is shorter has next to nothing of its own."""

_PENALTY = 1.0
_MAX_ITERATIONS = 10_000
_TOLERANCE = 1e-6


class Boundary(NamedTuple):
    """A hyperplane between the points that have an attribute and those that have not.

    Attributes:
        normal: Of length 1, towards those that have it, [D].
        offset: Of the hyperplane along the normal: x lies beyond it where normal . x > offset.
    """

    normal: Tensor
    offset: float

    def side(self, points: Tensor) -> Tensor:
        """Signed distances [N] of points [N, D] to the hyperplane; positive has the attribute."""
        return points.double().cpu() @ self.normal - self.offset

    def accuracy(self, positive: Tensor, negative: Tensor) -> float:
        """Mean of the shares of both kinds on their own side, [0, 1]; 0.5 is chance."""
        right = (self.side(positive) > 0).double().mean() + (
            self.side(negative) <= 0
        ).double().mean()
        return float(right / 2)


class Conditioned(NamedTuple):
    """A normal that does not move what others measure.

    Attributes:
        normal: Of length 1, orthogonal to the others, [D].
        kept: Cosine of it and the normal that it was made of, (0, 1].
    """

    normal: Tensor
    kept: float


class Spectrum(NamedTuple):
    """Orthogonal directions, strongest first.

    Attributes:
        directions: Of length 1, [K, D].
        strengths: Eigenvalues, descending, [K].
    """

    directions: Tensor
    strengths: Tensor


# ---------------------------------------------------------------------------------------------
# Boundaries.


def mean_boundary(positive: Tensor, negative: Tensor) -> Boundary:
    """The hyperplane half-way between two means, orthogonal to what lies between them.

    Args:
        positive: Points that have the attribute, [P, D].
        negative: Points that have not, [Q, D].

    Raises:
        ShapeError: The points are none.
        SettingsError: Both have the same mean.

    Example:
        >>> found = mean_boundary(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> found.normal.tolist(), found.offset
        ([1.0, 0.0], 2.0)
    """
    first, second = _both_sets(positive, negative)
    means = first.mean(dim=0), second.mean(dim=0)
    normal = unit(means[0] - means[1], name="the means of both labels")
    return Boundary(normal, float(normal @ (means[0] + means[1]) / 2))


def svm_boundary(positive: Tensor, negative: Tensor) -> Boundary:
    """The hyperplane of a linear support vector machine, as InterFaceGAN takes it.

    Both labels weigh alike, however many points they have. The points are centred, and all
    columns divided by the same number, so that the penalty means the same for every generator.

    Args:
        positive: Points that have the attribute, [P, D].
        negative: Points that have not, [Q, D].

    Raises:
        ShapeError: The points are none.
        MissingPackageError: scikit-learn is not installed.
        SettingsError: All points are the same, or no boundary was found.
    """
    first, second = _both_sets(positive, negative)
    points = torch.cat([first, second])
    center, size = points.mean(dim=0), points.var(dim=0, correction=0).mean().sqrt()
    if not size > 0:
        raise EngineSettingsError("labelled latents: expected different ones, got copies of one")
    labels = torch.cat([torch.ones(len(first)), torch.zeros(len(second))])
    weights, bias = _fit_svm((points - center) / size, labels)
    length = weights.norm()
    normal = unit(weights, name="the support vector machine's weights")
    return Boundary(normal, float(normal @ center - bias * size / length))


def margin_between(normal: Tensor, positive: Tensor, negative: Tensor) -> float:
    """How far apart the means of both labels are along a normal [D]."""
    first, second = _both_sets(positive, negative)
    return float(normal @ (first.mean(dim=0) - second.mean(dim=0)))


def conditioned(normal: Tensor, others: Sequence[Tensor], *, of: str = "normal") -> Conditioned:
    """A normal projected onto the orthogonal complement of other normals.

    Args:
        normal: Of length 1, [D].
        others: Any number of normals, [D] each; they need not be orthogonal or independent.
        of: What messages call the normal.

    Raises:
        SettingsError: Less than `LEAST_KEPT` of it is left.

    Example:
        >>> made = conditioned(torch.tensor([0.6, 0.8]), [torch.tensor([0.0, 2.0])])
        >>> made.normal.tolist(), round(made.kept, 3)
        ([1.0, 0.0], 0.6)
    """
    start = normal.double().cpu()
    left = start
    if others:
        matrix = torch.stack([unit(one.double().cpu(), name="a condition") for one in others])
        _, strengths, rows = torch.linalg.svd(matrix, full_matrices=False)
        span = rows[strengths > 1e-9 * strengths[0]]
        left = start - span.T @ (span @ start)
        left = left - span.T @ (span @ left)  # again, for what rounding left
    kept = float(left.norm() / start.norm())
    if not kept >= LEAST_KEPT:  # nor is it a number, of a normal that is none
        raise EngineSettingsError(
            f"conditional: {kept:.0%} of {of} is left without the others, at least "
            f"{LEAST_KEPT:.0%} is needed; they say nearly the same"
        )
    return Conditioned(left / left.norm(), kept)


def _fit_svm(points: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    """Weights [D] and bias of the decision function of scikit-learn's LinearSVC."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC
    except ImportError as exc:
        raise MissingPackageError(
            "a support vector machine needs scikit-learn, which is not installed: pip install "
            "'editvec[discover]'; the method mean needs none"
        ) from exc
    machine = LinearSVC(
        C=_PENALTY,
        dual=False,  # the primal solver draws nothing at random
        class_weight="balanced",
        tol=_TOLERANCE,
        max_iter=_MAX_ITERATIONS,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            machine.fit(points.numpy(), labels.numpy())
        except ConvergenceWarning as exc:
            raise EngineSettingsError(f"labelled latents: no boundary was found: {exc}") from exc
    return torch.from_numpy(machine.coef_[0].copy()).double(), float(machine.intercept_[0])


# ---------------------------------------------------------------------------------------------
# Factorisations.


def modulation_weights(synthesis: Synthesis, rows: Sequence[int]) -> Tensor:
    """The affine maps from W to styles that rows of ws go through, below each other: [C, w_dim].

    Of a row it is the map of its convolution. A map to colours shares its row with the next
    block's convolution and is left out; only the last row has nothing else.

    Args:
        synthesis: Of any architecture.
        rows: Indices, each 0 to num_ws - 1.

    Raises:
        SettingsError: No row, or one that is out of range.
    """
    num_ws = synthesis.config.num_ws
    outside = [row for row in rows if not 0 <= row < num_ws]
    if outside or not rows:
        got = ", ".join(map(str, outside)) or "none"
        raise EngineSettingsError(f"rows: expected rows from 0 to {num_ws - 1}, got {got}")
    layers: list[SynthesisLayer | ToRGB] = []
    for size in block_resolutions(synthesis.config.resolution):
        block = getattr(synthesis, f"b{size}")
        layers += [block.conv1] if block.first else [block.conv0, block.conv1]
    layers.append(getattr(synthesis, f"b{synthesis.config.resolution}").torgb)
    chosen = [layers[row].affine for row in sorted(set(rows))]
    parts = [(one.weight * one.weight_gain).detach().double().cpu() for one in chosen]
    return torch.cat(parts)


def factorise(weights: Tensor) -> Spectrum:
    """Eigenvectors of A^T A: the directions of length 1 that A changes styles most along.

    Args:
        weights: A, [C, D].

    Raises:
        ShapeError: `weights` is no matrix.
    """
    matrix = _points(weights, "weights")
    strengths, vectors = torch.linalg.eigh(matrix.T @ matrix)
    return Spectrum(_signed(vectors.T.flip(0)), strengths.flip(0).clamp(min=0))


def principal_components(points: Tensor) -> Spectrum:
    """Directions of the largest variance of points [N, D]; strengths are variances (1 / N).

    Raises:
        ShapeError: `points` is no matrix.
    """
    matrix = _points(points, "points")
    _, singular, rows = torch.linalg.svd(matrix - matrix.mean(dim=0), full_matrices=False)
    return Spectrum(_signed(rows), singular.square() / len(matrix))


def deviation_along(points: Tensor, directions: Tensor) -> Tensor:
    """Standard deviations [K] (1 / N) of points [N, D] along directions of length 1, [K, D]."""
    along = _points(points, "points") @ directions.double().cpu().T
    return along.std(dim=0, correction=0)


def unit(vector: Tensor, *, name: str) -> Tensor:
    """The vector [D] with length 1, float64 on the CPU.

    Raises:
        SettingsError: It is zero.
    """
    vector = vector.double().cpu()
    length = float(vector.norm())
    if not length > 0:
        raise EngineSettingsError(f"{name}: expected a difference, got none")
    return vector / length


def _signed(directions: Tensor) -> Tensor:
    """The same directions [K, D], the largest value of each above 0."""
    largest = directions.abs().argmax(dim=1, keepdim=True)
    signed: Tensor = directions * directions.gather(1, largest).sign()
    return signed


def _both_sets(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Points of both labels, of one dimension and finite."""
    first, second = _points(positive, "positive"), _points(negative, "negative")
    if first.shape[1] != second.shape[1]:
        raise ShapeError(
            f"negative: expected [N, {first.shape[1]}] as positive, got {list(second.shape)}"
        )
    check_finite(first, name="positive")
    check_finite(second, name="negative")
    return first, second


def _points(points: Tensor, name: str) -> Tensor:
    """Points as float64 on the CPU; refuses what is no matrix, or has no rows."""
    if points.ndim != 2 or not len(points):
        raise ShapeError(f"{name}: expected [N, D] with at least one row, got {list(points.shape)}")
    return points.detach().double().cpu()
