"""KID and FID on chosen features."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg
import torch
from torch import Tensor

from editvec.engine.bundle.bundle import load_bundle
from editvec.engine.errors import ShapeError, WeightsUnavailableError
from editvec.engine.metrics.distribution import (
    FeatureNetwork,
    features_of,
    frechet_distance,
    inception_features,
    kernel_distance,
    standardised,
    trunk_features,
)


def drawn(count: int, *, seed: int, shift: float = 0.0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=random) + shift


def _reference_kid(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """The unbiased estimate, pair by pair."""
    size = x.shape[1]

    def k(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
        return float((a @ b / size + 1) ** 3)

    def within(z: npt.NDArray[np.float64]) -> float:
        pairs = [k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return float(np.mean(pairs))

    return within(x) + within(y) - 2 * float(np.mean([k(a, b) for a in x for b in y]))


def test_kid_is_the_unbiased_squared_mmd() -> None:
    x, y = drawn(20, seed=0), drawn(20, seed=1, shift=0.3)

    assert kernel_distance(x, y) == pytest.approx(
        _reference_kid(x.double().numpy(), y.double().numpy()), rel=1e-6
    )


def test_kid_tells_shifted_and_collapsed_sets_from_equal_ones() -> None:
    reference = drawn(400, seed=0)

    equal = kernel_distance(drawn(400, seed=1), reference)
    collapsed = kernel_distance(drawn(8, seed=2).repeat(50, 1), reference)
    shifted = kernel_distance(drawn(400, seed=3, shift=1), reference)

    assert abs(equal) < 0.05
    assert collapsed > 5 * abs(equal)
    assert shifted > collapsed


def test_fid_of_gaussians_is_that_of_their_moments() -> None:
    reference = drawn(4000, seed=0)

    assert frechet_distance(reference, reference) == pytest.approx(0, abs=1e-6)
    # shifted by 2 in each of 5 dimensions
    assert frechet_distance(reference + 2, reference) == pytest.approx(20, rel=1e-4)


def _reference_fid(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """The formula of the paper, with scipy's root of a matrix."""
    root = scipy.linalg.sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root))


@pytest.mark.parametrize("counts", [(300, 200), (4, 200), (200, 4)])
def test_fid_is_that_of_numpys_formula(counts: tuple[int, int]) -> None:
    # fewer images than features too, where the covariances have no full rank
    mix = drawn(5, seed=9)
    x, y = drawn(counts[0], seed=0) @ mix, drawn(counts[1], seed=1, shift=0.3)

    expected = _reference_fid(x.double().numpy(), y.double().numpy())

    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


def test_fid_and_kid_of_known_gaussians_are_those_of_theory() -> None:
    deviations = torch.tensor([0.5, 1.0, 1.5, 2.0, 2.5])
    x, y = drawn(20_000, seed=2), drawn(20_000, seed=3, shift=1) * deviations

    fid = frechet_distance(x, y)

    expected = float(deviations.square().sum() + (1 - deviations).square().sum())
    assert fid == pytest.approx(expected, rel=0.03)
    # of one distribution: about 0
    small = [drawn(900, seed=seed) for seed in (4, 5)]
    assert abs(kernel_distance(*small)) < 0.02


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # theirs
def test_fid_and_kid_are_those_of_torch_fidelity() -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    mix = drawn(5, seed=9)
    x, y = drawn(300, seed=0) @ mix, drawn(300, seed=1, shift=0.3) @ mix

    statistics = [fid_features_to_statistics(one) for one in (x, y)]
    fid = fid_statistics_to_metric(*statistics, verbose=False)
    # one subset that is the whole set
    kid = kid_features_to_metric(
        x, y, kid_subsets=1, kid_subset_size=300, verbose=False, rng_seed=0
    )

    assert frechet_distance(x, y) == pytest.approx(fid["frechet_inception_distance"], rel=1e-4)
    assert kernel_distance(x, y) == pytest.approx(kid[KEY_METRIC_KID_MEAN], rel=1e-4)


def test_kid_of_sets_of_different_sizes_takes_all_of_both() -> None:
    x, y = drawn(12, seed=0), drawn(31, seed=1, shift=0.3)

    expected = _reference_kid(x.double().numpy(), y.double().numpy())

    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_trunk_features_are_moments_of_its_layers(small: Path) -> None:
    perceptual = load_bundle(small).perceptual
    assert perceptual is not None
    network = trunk_features(perceptual)
    images = torch.rand(3, 3, 16, 16) * 2 - 1

    features = features_of([images[:2], images[2:]], network)

    layers = perceptual.trunk(perceptual.scaling(images))
    first = layers[0].shape[1]
    assert network.name == "trunk/tiny"
    assert features.shape == (3, 2 * sum(layer.shape[1] for layer in layers))
    torch.testing.assert_close(features[:, :first], layers[0].mean(dim=(2, 3)))
    torch.testing.assert_close(features[:, first : 2 * first], layers[0].std(dim=(2, 3)))


def test_standardised_features_have_mean_0_and_deviation_1() -> None:
    plain = FeatureNetwork("plain", lambda images: images.mean(dim=3).flatten(1) * 50 + 7)
    images = torch.rand(40, 3, 8, 8) * 2 - 1

    network = standardised(plain, features_of([images], plain))
    features = features_of([images], network)

    assert network.name == "plain/standardised"
    assert float(features.mean(dim=0).abs().max()) < 1e-4
    torch.testing.assert_close(features.std(dim=0), torch.ones(24), atol=5e-3, rtol=0)


def test_images_are_clipped_as_a_file_would_be() -> None:
    plain = FeatureNetwork("plain", lambda images: images.flatten(1))

    features = features_of([torch.full((1, 3, 8, 8), 9.0)], plain)

    assert float(features.max()) == 1


def test_sets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="features, reference"):
        kernel_distance(drawn(4, seed=0), drawn(4, seed=0)[:, :3])
    with pytest.raises(ShapeError, match="two images"):
        kernel_distance(drawn(1, seed=0), drawn(4, seed=0))


def test_fid_of_dependent_features_is_that_of_the_closed_form() -> None:
    # two sets that one rotation makes diagonal: the distance is that of the deviations
    base = drawn(500, seed=0).double()
    base = (base - base.mean(dim=0)) @ torch.linalg.inv(torch.linalg.cholesky(base.t().cov()).t())
    turn, _ = torch.linalg.qr(drawn(5, seed=4).double())
    first, second = torch.tensor([1.0, 2, 3, 4, 5]), torch.tensor([5.0, 1, 3, 2, 1])

    distance = frechet_distance(base * first @ turn, base * second @ turn)

    assert distance == pytest.approx(float((first - second).square().sum()), rel=1e-6)


@pytest.mark.slow
def test_inception_is_loaded_from_a_weight_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    weights = tmp_path / "inception.pth"
    torch.save({}, weights)
    with monkeypatch.context() as patched:
        # an untrained network, to have a file of the right shape
        patched.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        untrained = FeatureExtractorInceptionV3(
            "inception-v3", ["2048"], feature_extractor_weights_path=str(weights)
        )
    torch.save(untrained.state_dict(), weights)
    images = torch.rand(2, 3, 32, 32) * 2 - 1

    network = inception_features(weights=weights)

    assert network.name == "inception-v3"
    assert features_of([images], network).shape == (2, 2048)


def test_missing_inception_weights_say_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(
        "torch_fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3",
        "http://127.0.0.1:9/weights-inception.pth",
    )

    with pytest.raises(WeightsUnavailableError, match=r"weights-inception\.pth .* put it in"):
        inception_features()
