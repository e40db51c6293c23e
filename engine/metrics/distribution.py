"""Distances between sets of images: KID and FID on a feature network that can be chosen.

A value means something only with the name of its network and the number of images: `KID` and
`FID` as published are those on Inception v3; on another network they are named after it.
"""

import contextlib
import io
import math
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from editvec.engine.errors import ShapeError, WeightsUnavailableError
from editvec.engine.networks.perceptual import PerceptualDistance
from editvec.engine.shapes import check_images

KID_SUBSET_SIZE = 1000
KID_SUBSETS = 50
INCEPTION_FEATURES = "2048"


class FeatureNetwork(NamedTuple):
    """What images are compared by.

    Attributes:
        name: Travels with every value: `inception-v3`, `trunk/<name>`.
        extract: Images [N, 3, H, W] in [-1, 1] -> features [N, F].
    """

    name: str
    extract: Callable[[Tensor], Tensor]


def trunk_features(perceptual: PerceptualDistance) -> FeatureNetwork:
    """The activations of a bundle's own trunk: mean and deviation of each channel of each layer.

    Args:
        perceptual: Its trunk is used, on the device where it is.
    """

    def extract(images: Tensor) -> Tensor:
        activations = perceptual.trunk(perceptual.scaling(images))
        parts = [one.flatten(2) for one in activations]
        moments = [torch.cat([one.mean(dim=2), one.std(dim=2)], dim=1) for one in parts]
        return torch.cat(moments, dim=1)

    _, _, trunk = perceptual.name.partition("/")
    return FeatureNetwork(f"trunk/{trunk}", extract)


def inception_features(
    *, device: torch.device | str = "cpu", weights: Path | None = None
) -> FeatureNetwork:
    """Inception v3 as FID and KID were published with it, by torch-fidelity.

    Args:
        device: Where to compute.
        weights: The weight file; None takes torch hub's cache and downloads it if need be.

    Raises:
        WeightsUnavailableError: The weights are neither cached, given nor downloadable.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import (
        URL_INCEPTION_V3,
        FeatureExtractorInceptionV3,
    )

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            network = FeatureExtractorInceptionV3(
                "inception-v3",
                [INCEPTION_FEATURES],
                feature_extractor_weights_path=None if weights is None else str(weights),
            )
    except (OSError, urllib.error.URLError, RuntimeError) as exc:
        raise WeightsUnavailableError(
            f"the weights of Inception v3 cannot be loaded: get {URL_INCEPTION_V3} and put it in "
            f"{Path(torch.hub.get_dir()) / 'checkpoints'}, or choose another feature network"
        ) from exc
    network = network.to(device).eval()

    def extract(images: Tensor) -> Tensor:
        pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        features: Tensor = network(pixels)[0]
        return features

    return FeatureNetwork("inception-v3", extract)


def standardised(network: FeatureNetwork, features: Tensor) -> FeatureNetwork:
    """The network with every feature shifted and scaled by its mean and deviation on a set.

    The kernel of KID weighs features by their size, which says nothing in a trunk that was
    trained for something else: a set of few different images is then hardly told from many.

    Args:
        network: Its name gets `/standardised`.
        features: Of the reference set, [N, F].
    """
    mean, deviation = features.mean(dim=0), features.std(dim=0)
    scale = 1 / (deviation + 1e-3 * deviation.mean() + 1e-12)

    def extract(images: Tensor) -> Tensor:
        found = network.extract(images)
        return (found - mean.to(found.device)) * scale.to(found.device)

    return FeatureNetwork(f"{network.name}/standardised", extract)


@torch.no_grad()
def features_of(batches: Iterator[Tensor] | Sequence[Tensor], network: FeatureNetwork) -> Tensor:
    """Features of many images, float32 on the CPU: [N, F].

    Args:
        batches: Images [M, 3, H, W] in [-1, 1] each; clipped, as a file would be.
        network: What extracts them.
    """
    parts = []
    for images in batches:
        check_images(images)
        parts.append(network.extract(images.clamp(-1, 1)).float().cpu())
    if not parts:
        raise ShapeError("batches: expected at least one batch of images, got none")
    return torch.cat(parts)


def kernel_distance(features: Tensor, reference: Tensor) -> float:
    """KID (Binkowski et al. 2018): unbiased squared MMD with the kernel (x y / F + 1)^3.

    Up to 1000 images of each set are compared as they are; of more, 50 subsets of 1000.

    Args:
        features: [N, F].
        reference: [M, F].

    Returns:
        About 0 for samples of one distribution, also below 0.

    Raises:
        ShapeError: The sets do not fit each other or hold fewer than two images.
    """
    _check_features(features, reference)
    if max(len(features), len(reference)) <= KID_SUBSET_SIZE:
        return _squared_mmd(features.double(), reference.double())
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    values = kid_features_to_metric(
        features.double(),
        reference.double(),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(len(features), len(reference), KID_SUBSET_SIZE),
        verbose=False,
    )
    return float(values[KEY_METRIC_KID_MEAN])


def _squared_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate of all pairs but those of an image with itself (Gretton 2012, 3)."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        values: Tensor = (a @ b.t() / a.shape[1] + 1) ** 3
        return values

    def within(a: Tensor) -> float:
        all_pairs = kernel(a, a)
        return float(all_pairs.sum() - all_pairs.trace()) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * float(kernel(x, y).mean())


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """FID (Heusel et al. 2017) of two sets [N, F] and [M, F]; biased, the more the smaller N.

    Raises:
        ShapeError: The sets do not fit each other or hold fewer than two images.
    """
    _check_features(features, reference)
    mean_a, mean_b = (one.double().mean(dim=0) for one in (features, reference))
    if min(len(features), len(reference)) < features.shape[1]:
        # with A = X^T X and B = Y^T Y they are the singular values of X Y^T too, which is small
        x, y = (_centred(features, mean_a), _centred(reference, mean_b))
        shared = torch.linalg.svdvals(x @ y.t()).sum()
        traces = x.square().sum() + y.square().sum()
    else:
        cov_a, cov_b = features.double().t().cov(), reference.double().t().cov()
        # the roots of the eigenvalues of A B are the singular values of sqrt(A) sqrt(B)
        shared = torch.linalg.svdvals(_root(cov_a) @ _root(cov_b)).sum()
        traces = cov_a.trace() + cov_b.trace()
    return float((mean_a - mean_b).square().sum() + traces - 2 * shared)


def _centred(features: Tensor, mean: Tensor) -> Tensor:
    """X of the covariance X^T X."""
    centred: Tensor = (features.double() - mean) / math.sqrt(len(features) - 1)
    return centred


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.t()
    return root


def _check_features(features: Tensor, reference: Tensor) -> None:
    if features.ndim != 2 or features.shape[1:] != reference.shape[1:]:
        raise ShapeError(
            f"features, reference: expected [N, F] and [M, F], got {list(features.shape)} and "
            f"{list(reference.shape)}"
        )
    if min(len(features), len(reference)) < 2:
        raise ShapeError("features, reference: expected at least two images each")
