"""The engine with the kernels of cuda_ext, and without."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from editvec.cuda_ext import bias_act, segment_gather, upfirdn2d
from editvec.cuda_ext.dispatch import chosen_kernels, kernels_are_available
from editvec.engine.networks import layers
from editvec.engine.networks.config import GeneratorConfig, SegmentationConfig
from editvec.engine.networks.generator import Generator
from editvec.engine.segmentation import branch as segmentation
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.engine.segmentation.folding import FoldedLayers
from tests.support.kernel_cases import draw
from tests.support.kernel_emulation import COMPILER, emulated_operators


def _compute(
    generator: Generator, branch: SegmentationBranch, ws: Tensor, pixels: Tensor
) -> list[Tensor]:
    """Images, logits at the pixels, and the gradient of both with respect to ws."""
    ws = ws.clone().requires_grad_()
    images, features = generator.synthesis.with_features(ws)
    logits = branch.logits_at(features, pixels)
    (gradient,) = torch.autograd.grad(images.square().mean() + logits.square().mean(), ws)
    return [images.detach(), logits.detach(), gradient]


def _check(device: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, where the order of sums hardly matters."""
    torch.manual_seed(1)
    generator = Generator(GeneratorConfig(resolution=64, channel_base=1024, channel_max=64))
    config = SegmentationConfig(
        num_labels=5,
        members=3,
        hidden=(16, 8),
        feature_channels=tuple(generator.feature_channels),
    )
    channels = sum(generator.feature_channels)
    shapes = ((48, channels), (48, 1, 1), (3, 8, 16), (3, 8, 1), (3, 5, 8), (3, 5, 1))
    folded = FoldedLayers(*(draw(shape, 2 + i) / 4 for i, shape in enumerate(shapes)))
    branch = SegmentationBranch(config, folded).double().to(device)
    generator = generator.double().to(device).requires_grad_(False)
    ws = draw((2, generator.num_ws, generator.config.w_dim), 1).double().to(device)
    axes = [torch.arange(count) % size for size in (2, 63, 61)]
    pixels = torch.stack(axes, dim=1).to(device)

    monkeypatch.setenv("EDITVEC_KERNELS", "none")
    expected = _compute(generator, branch, ws, pixels)
    monkeypatch.setenv("EDITVEC_KERNELS", "all")
    found = _compute(generator, branch, ws, pixels)

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("count", [50, 3000])
def test_kernels_change_nothing_but_the_last_digits(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernels_are_available()

    _check("cuda", count, monkeypatch)


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
def test_arithmetic_of_the_kernels_changes_nothing_but_the_last_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the rule of dispatch without "on a CUDA device": here the operators take CPU tensors
    for module in (bias_act, upfirdn2d, segment_gather, layers, segmentation):
        monkeypatch.setattr(module, "takes_kernel", lambda name, x: name in chosen_kernels())

    with emulated_operators(tmp_path) as emulation:
        for count in (50, 3000):  # few pixels are gathered before layer 1, many after it
            _check("cpu", count, monkeypatch)

    assert set(emulation.calls) == {
        "bias_act", "bias_act_grad", "upfirdn2d", "segment_gather", "segment_gather_grad",
    }  # fmt: skip
