import math

import pytest
import torch
from torch import Tensor

from editvec.engine.editing.losses import (
    PRESETS,
    LossWeights,
    Networks,
    Objective,
    masked_mse,
    roi_cross_entropy,
)
from editvec.engine.errors import EngineSettingsError
from editvec.engine.networks.encoder import Encoder

ALL_TERMS = LossWeights(
    perceptual_weight=2.0,
    mse_weight=3.0,
    cross_entropy_weight=0.5,
    identity_weight=0.7,
    encoder_weight=0.3,
)


@pytest.fixture
def roi() -> Tensor:
    """A box of another size in each of four samples; none in the last."""
    roi = torch.zeros(4, 1, 16, 16, dtype=torch.bool)
    for sample in range(3):
        roi[sample, :, 2 : 5 + sample, 3 : 9 + sample] = True
    return roi


@pytest.fixture
def target_mask() -> Tensor:
    return torch.randint(0, 6, (4, 16, 16), generator=torch.Generator().manual_seed(3))


def test_squared_error_is_averaged_over_the_kept_pixels(roi: Tensor) -> None:
    a, b = torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16)
    keep = (~roi).float()

    kept = masked_mse(a, b * keep, keep)
    over_all = masked_mse(a, b * keep, keep, divisor="all")

    for sample in range(4):
        squares = [
            (a[sample, c, y, x] - b[sample, c, y, x]).item() ** 2
            for c in range(3)
            for y in range(16)
            for x in range(16)
            if not roi[sample, 0, y, x]
        ]
        assert kept[sample].item() == pytest.approx(sum(squares) / len(squares), rel=1e-5)
        assert over_all[sample].item() == pytest.approx(sum(squares) / (3 * 16 * 16), rel=1e-5)
    assert masked_mse(a, torch.zeros_like(a), torch.zeros(4, 1, 16, 16)).tolist() == [0, 0, 0, 0]


def test_cross_entropy_is_averaged_within_each_sample() -> None:
    logits = torch.randn(6, 5, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    samples = torch.tensor([0, 0, 0, 0, 2, 2])

    losses = roi_cross_entropy(logits, labels, samples, 3)

    each = [-math.log(row.softmax(0)[label]) for row, label in zip(logits, labels, strict=True)]
    assert losses.tolist() == pytest.approx([sum(each[:4]) / 4, 0.0, sum(each[4:]) / 2])


def _reference_total(networks: Networks, ws: Tensor, images: Tensor, roi: Tensor, mask: Tensor):
    """The loss of one sample, written down as in the paper, with full-size logits."""
    out, features = networks.synthesis.with_features(ws[None])
    keep = (~roi).double()
    a, b = (out[0] + 1) / 2 * keep, (images + 1) / 2 * keep
    loss = 2.0 * networks.perceptual(a[None], b[None])[0]
    loss += 3.0 * (a - b).square().sum() / (3 * keep.sum())
    if roi.any():
        logits = networks.segmentation(features)[0][:, roi[0]]
        loss += 0.5 * torch.nn.functional.cross_entropy(logits.T, mask[roi[0]])
    identity_out, identity_in = networks.identity(out)[0], networks.identity(images[None])[0]
    loss += 0.7 * (1 - identity_out @ identity_in / (identity_out.norm() * identity_in.norm()))
    return loss + 0.3 * (networks.encoder(out)[0] - ws).square().mean()


def test_the_objective_is_the_sum_of_its_terms(
    networks: Networks, ws: Tensor, images: Tensor, roi: Tensor, target_mask: Tensor
) -> None:
    objective = Objective(
        networks, ALL_TERMS, images=images.flip(0), base_ws=ws, roi=roi, target_mask=target_mask
    )
    deltas = torch.randn(ws.shape, generator=torch.Generator().manual_seed(1), dtype=ws.dtype) * 0.1

    terms = objective(deltas)

    for sample in range(4):
        expected = _reference_total(
            networks,
            ws[sample] + deltas[sample],
            images.flip(0)[sample],
            roi[sample],
            target_mask[sample],
        )
        assert terms.total[sample].item() == pytest.approx(expected.item(), rel=1e-9)
    assert all((term >= 0).all() for term in terms)
    assert terms.cross_entropy[3] == 0


def test_selected_samples_have_the_losses_they_had(
    networks: Networks, ws: Tensor, images: Tensor, roi: Tensor, target_mask: Tensor
) -> None:
    objective = Objective(
        networks, ALL_TERMS, images=images.flip(0), base_ws=ws, roi=roi, target_mask=target_mask
    )
    zeros = torch.zeros_like(ws)
    index = torch.tensor([2, 0])

    selected = objective.select(index)

    torch.testing.assert_close(
        selected(zeros[index]).total, objective(zeros).total[index], atol=1e-12, rtol=0
    )
    assert selected.select(torch.tensor([1]))(zeros[:1]).total.item() == pytest.approx(
        objective(zeros).total[0].item(), rel=1e-12
    )


def test_a_weight_without_its_network_is_refused(networks: Networks, images: Tensor) -> None:
    bare = Networks(networks.synthesis)

    for name in ("perceptual_weight", "identity_weight", "encoder_weight", "cross_entropy_weight"):
        with pytest.raises(EngineSettingsError, match=name):
            Objective(bare, LossWeights(**{name: 1.0}), images=images)
    with pytest.raises(EngineSettingsError, match="without a target mask"):
        Objective(networks, PRESETS["learn"], images=images)


@pytest.mark.parametrize(
    "values",
    [
        {"mse_weight": -1.0},
        {"mse_weight": math.nan},
        {"mse_weight": math.inf},
        {},
        {"mse_weight": 1.0, "mse_divisor": "some"},
    ],
)
def test_weights_out_of_range_are_refused(values: dict) -> None:
    with pytest.raises(EngineSettingsError):
        LossWeights(**values)


def test_the_released_preset_divides_by_all_pixels() -> None:
    released = PRESETS["released"]

    assert released.mse_divisor == "all"
    assert (
        released.perceptual_weight,
        released.mse_weight,
        released.cross_entropy_weight,
        released.encoder_weight,
    ) == (150, 75, 1, 1)
    assert PRESETS["learn"].mse_divisor == "kept"


def test_the_encoder_sees_images_in_its_own_range(networks: Networks, ws: Tensor) -> None:
    assert isinstance(networks.encoder, Encoder)
    assert not networks.encoder.training
    weights = LossWeights(encoder_weight=1.0)
    with torch.no_grad():
        out = networks.synthesis(ws)
        expected = (networks.encoder(out) - ws).square().mean(dim=(1, 2))

        terms = Objective(networks, weights, images=out)(ws)

    torch.testing.assert_close(terms.encoder, expected)
