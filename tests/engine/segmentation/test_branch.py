"""The folded segmentation branch against reference outputs and against the naive form."""

from collections.abc import Callable

import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

import editvec.engine.segmentation.branch
from editvec.engine.errors import BundleError, EngineSettingsError, ShapeError
from editvec.engine.networks.config import SegmentationConfig
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.engine.segmentation.uncertainty import divergence, entropy_sums, image_uncertainty
from tests.support.places import FIXTURES

REFERENCE_CONFIG = SegmentationConfig(
    num_labels=7, feature_channels=(32, 32, 32, 32, 24, 24, 16, 16), members=3
)
SMALL_CONFIG = SegmentationConfig(
    num_labels=4, feature_channels=(5, 6, 4, 4, 3), members=3, hidden=(8, 6)
)
SMALL_SIZES = ((4, 4), (4, 4), (8, 8), (8, 8), (16, 16))


# The naive form: up-sample everything, concatenate, classify pixel by pixel, member by member.


def _reference_member_logits(
    state: dict[str, Tensor], config: SegmentationConfig, features: list[Tensor]
) -> Tensor:
    size = features[-1].shape[2:]
    upsampled = [
        F.interpolate(maps, size=size, mode="bilinear", align_corners=False) for maps in features
    ]
    pixels = torch.cat(upsampled, dim=1).permute(0, 2, 3, 1).flatten(0, 2)
    logits = [_reference_classifier(state, f"{m}.layers", pixels) for m in range(config.members)]
    stacked = torch.stack(logits).unflatten(1, (len(features[0]), *size))
    return stacked.permute(0, 1, 4, 2, 3)


def _reference_classifier(state: dict[str, Tensor], prefix: str, x: Tensor) -> Tensor:
    def get(layer: int, name: str) -> Tensor:
        return state[f"{prefix}.{layer}.{name}"]

    for linear, norm in ((0, 2), (3, 5)):
        x = F.linear(x, get(linear, "weight"), get(linear, "bias")).relu()
        x = F.batch_norm(
            x,
            get(norm, "running_mean"),
            get(norm, "running_var"),
            get(norm, "weight"),
            get(norm, "bias"),
            training=False,
        )
    return F.linear(x, get(6, "weight"), get(6, "bias"))


def _reference_jensen_shannon(member_logits: Tensor) -> Tensor:
    def entropy(probabilities: Tensor, dim: int) -> Tensor:
        return -(probabilities * (probabilities + 1e-30).log()).sum(dim=dim)

    probabilities = member_logits.softmax(dim=2)
    return entropy(probabilities.mean(dim=0), 1) - entropy(probabilities, 2).mean(dim=0)


def _divergence(member_logits: Tensor) -> Tensor:
    return divergence(entropy_sums(member_logits), len(member_logits))


def test_uncertainty_is_the_entropy_that_scipy_finds() -> None:
    member_logits = torch.randn(4, 2, 7, 5, 3, generator=torch.Generator().manual_seed(0)) * 3

    found = _divergence(member_logits)

    probabilities = scipy.special.softmax(member_logits.double().numpy(), axis=2)
    of_mean = scipy.stats.entropy(probabilities.mean(axis=0), axis=1)
    expected = of_mean - scipy.stats.entropy(probabilities, axis=2).mean(axis=0)
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), atol=1e-6, rtol=0)
    # of two members it is the square of scipy's distance
    pair = scipy.spatial.distance.jensenshannon(*probabilities[:2], axis=1) ** 2
    of_two = _divergence(member_logits[:2])
    torch.testing.assert_close(of_two.double(), torch.from_numpy(pair), atol=1e-6, rtol=0)


def random_state(
    config: SegmentationConfig, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    first, second = config.hidden
    sizes = {0: (first, sum(config.feature_channels)), 3: (second, first)}
    sizes[6] = (config.num_labels, second)
    state = {}
    for member in range(config.members):
        for layer, (out, into) in sizes.items():
            state[f"{member}.layers.{layer}.weight"] = draw(out, into) / into**0.5
            state[f"{member}.layers.{layer}.bias"] = draw(out)
        for layer, width in ((2, first), (5, second)):
            state[f"{member}.layers.{layer}.weight"] = draw(width)
            state[f"{member}.layers.{layer}.bias"] = draw(width)
            state[f"{member}.layers.{layer}.running_mean"] = draw(width)
            state[f"{member}.layers.{layer}.running_var"] = draw(width).exp()
    return state


def random_features(
    count: int = 2,
    *,
    config: SegmentationConfig = SMALL_CONFIG,
    sizes: tuple[tuple[int, int], ...] = SMALL_SIZES,
    seed: int = 1,
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    """Maps of both layouts."""
    generator = torch.Generator().manual_seed(seed)
    features = [
        torch.randn(count, channels, *size, generator=generator, dtype=dtype)
        for channels, size in zip(config.feature_channels, sizes, strict=True)
    ]
    features[1::2] = [one.contiguous(memory_format=torch.channels_last) for one in features[1::2]]
    return features


def all_pixels(count: int, size: tuple[int, int]) -> Tensor:
    axes = [torch.arange(length) for length in (count, *size)]
    return torch.cartesian_prod(*axes)


@pytest.fixture(scope="module")
def reference() -> tuple[SegmentationBranch, list[Tensor], dict[str, Tensor]]:
    state = load_file(FIXTURES / "datasetgan_members.weights.safetensors")
    expected = load_file(FIXTURES / "datasetgan_members.expected.safetensors")
    branch = SegmentationBranch.from_members(state, REFERENCE_CONFIG)
    return branch, [expected[f"feature_{index}"] for index in range(8)], expected


Reference = tuple[SegmentationBranch, list[Tensor], dict[str, Tensor]]


@torch.inference_mode()
def test_logits_and_labels_equal_the_reference(reference: Reference) -> None:
    branch, features, expected = reference

    seg_logits = branch(features)

    torch.testing.assert_close(seg_logits, expected["mean_logits"], atol=1e-4, rtol=0)
    assert torch.equal(seg_logits.argmax(dim=1).int(), expected["labels"])


@torch.inference_mode()
def test_member_logits_and_uncertainty_equal_the_reference(reference: Reference) -> None:
    branch, features, expected = reference

    members = branch.member_logits(features)
    uncertainty = branch.uncertainty(features)

    torch.testing.assert_close(members, expected["member_logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(uncertainty, expected["jensen_shannon"], atol=1e-4, rtol=0)
    torch.testing.assert_close(_divergence(members), expected["jensen_shannon"], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_logits_of_pixels_equal_the_reference(reference: Reference) -> None:
    branch, features, expected = reference
    pixels = all_pixels(2, (32, 32))[::7]

    logits = branch.logits_at(features, pixels)

    n, y, x = pixels.unbind(dim=1)
    torch.testing.assert_close(logits, expected["mean_logits"][n, :, y, x], atol=1e-4, rtol=0)


# Budgets in bytes: everything in one piece, several rows of one image, single rows.
BUDGETS = (2**30, 3 * 16 * 24 * 8, 1)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [
        SMALL_SIZES,
        ((4, 4), (8, 8), (8, 8), (16, 16), (32, 32)),
        ((4, 6), (4, 6), (8, 12), (10, 14), (19, 23)),
        ((5, 5), (5, 5), (5, 5), (5, 5), (5, 5)),
    ],
)
def test_folded_form_equals_the_naive_one(
    monkeypatch: pytest.MonkeyPatch,
    budget: int,
    folded: bool,
    sizes: tuple[tuple[int, int], ...],
) -> None:
    monkeypatch.setattr(editvec.engine.segmentation.branch, "CPU_PIECE_BYTES", budget)
    monkeypatch.setattr(editvec.engine.segmentation.branch, "PART_BYTES", budget)
    state = random_state(SMALL_CONFIG)
    features = random_features(3, sizes=sizes)
    features[0] = features[0][:1].expand(3, -1, -1, -1)
    members = _reference_member_logits(state, SMALL_CONFIG, features)
    constant = features[0][0] if folded else None
    branch = SegmentationBranch.from_members(state, SMALL_CONFIG, constant)
    if folded:
        features[0] = torch.full_like(features[0], torch.nan)
    pixels = all_pixels(3, sizes[-1])[1::5]
    n, y, x = pixels.unbind(dim=1)

    torch.testing.assert_close(branch(features), members.mean(dim=0), atol=1e-9, rtol=0)
    torch.testing.assert_close(branch.member_logits(features), members, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        branch.uncertainty(features), _reference_jensen_shannon(members), atol=1e-9, rtol=0
    )
    torch.testing.assert_close(
        branch.logits_at(features, pixels), members.mean(dim=0)[n, :, y, x], atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("piece", [1, 40 * 8 * 8, 2**30])  # pixels: none whole, 40, all
@pytest.mark.parametrize("part", [1, 60 * 8 * 8, 2**30])
@pytest.mark.parametrize("coarse", [1, 2**30])
def test_pieces_parts_and_coarse_maps_of_any_sizes_agree(
    monkeypatch: pytest.MonkeyPatch, piece: int, part: int, coarse: int
) -> None:
    """The three limits are apart: a piece can hold less than a part, and than one pixel."""
    for name, limit in (("CPU_PIECE_BYTES", piece), ("PART_BYTES", part), ("COARSE_BYTES", coarse)):
        monkeypatch.setattr(editvec.engine.segmentation.branch, name, limit)
    state, features = random_state(SMALL_CONFIG), random_features(2)
    branch = SegmentationBranch.from_members(state, SMALL_CONFIG)
    pixels = all_pixels(2, (16, 16))[::3]
    n, y, x = pixels.unbind(dim=1)

    expected = _reference_member_logits(state, SMALL_CONFIG, features).mean(dim=0)
    torch.testing.assert_close(branch(features), expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        branch.logits_at(features, pixels), expected[n, :, y, x], atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("kept", [0, 2**30])
@pytest.mark.parametrize("path", ["whole", "pixels"])
def test_gradients_equal_those_of_the_naive_form(
    monkeypatch: pytest.MonkeyPatch, budget: int, kept: int, path: str
) -> None:
    monkeypatch.setattr(editvec.engine.segmentation.branch, "CPU_PIECE_BYTES", budget)
    monkeypatch.setattr(editvec.engine.segmentation.branch, "PART_BYTES", budget)
    monkeypatch.setattr(editvec.engine.segmentation.branch, "KEPT_BYTES", kept)
    state = random_state(SMALL_CONFIG)
    branch = SegmentationBranch.from_members(state, SMALL_CONFIG)
    features = [maps.requires_grad_() for maps in random_features(2)]
    pixels = all_pixels(2, (16, 16))[::3]
    n, y, x = pixels.unbind(dim=1)

    def naive() -> Tensor:
        logits = _reference_member_logits(state, SMALL_CONFIG, features).mean(dim=0)
        return logits if path == "whole" else logits[n, :, y, x]

    def ours() -> Tensor:
        return branch(features) if path == "whole" else branch.logits_at(features, pixels)

    expected = _gradients(naive, features)
    for gradient, reference in zip(_gradients(ours, features), expected, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-9, rtol=0)


def _gradients(logits: Callable[[], Tensor], features: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(logits().sin().sum(), features)


@torch.inference_mode()
def test_few_pixels_and_many_pixels_agree(reference: Reference) -> None:
    """Few pixels are gathered before layer 1, many after it."""
    branch, features, _ = reference
    pixels = all_pixels(2, (32, 32))

    few = torch.cat([branch.logits_at(features, part) for part in pixels[:60].split(20)])

    torch.testing.assert_close(few, branch.logits_at(features, pixels)[:60], atol=1e-5, rtol=0)


def test_a_plan_serves_many_features_of_its_sizes_only() -> None:
    branch = SegmentationBranch.from_members(random_state(SMALL_CONFIG), SMALL_CONFIG)
    pixels = all_pixels(2, (16, 16))[::3]
    plan = branch.plan_pixels(random_features(2), pixels)

    for seed in (1, 2):
        features = random_features(2, seed=seed)
        found = branch.logits_at(features, plan)
        torch.testing.assert_close(found, branch.logits_at(features, pixels), atol=0, rtol=0)
    with pytest.raises(ShapeError, match="expected a plan for 3 images"):
        branch.logits_at(random_features(3), plan)
    in_single = SegmentationBranch.from_members(random_state(SMALL_CONFIG), SMALL_CONFIG).float()
    single = in_single.plan_pixels([maps.float() for maps in features], pixels)
    with pytest.raises(ShapeError, match=r"expected a plan for torch\.float64"):
        branch.logits_at(features, single)


def test_what_a_gradient_keeps_is_given_up_with_its_backward_pass() -> None:
    branch = SegmentationBranch.from_members(random_state(SMALL_CONFIG), SMALL_CONFIG)
    features = [maps.requires_grad_() for maps in random_features(2)]
    logits = branch.logits_at(features, all_pixels(2, (16, 16))[::3])
    nodes = [logits.grad_fn]
    while nodes and "PixelLogits" not in nodes[-1].name():
        nodes.append(nodes[-1].next_functions[0][0])
    assert any(one.dtype == torch.bool for one in nodes[-1].saved_tensors)

    logits.sum().backward(retain_graph=False)

    with pytest.raises(RuntimeError, match="freed"):
        _ = nodes[-1].saved_tensors


def test_a_second_derivative_at_pixels_is_refused() -> None:
    branch = SegmentationBranch.from_members(random_state(SMALL_CONFIG), SMALL_CONFIG)
    features = [maps.requires_grad_() for maps in random_features(2)]
    logits = branch.logits_at(features, all_pixels(2, (16, 16))[::3])

    with pytest.raises(RuntimeError, match="pixels has a first derivative only"):
        torch.autograd.grad(logits.sum(), features[-1], create_graph=True)


def test_only_the_pixels_of_the_roi_are_read() -> None:
    branch = SegmentationBranch.from_members(random_state(SMALL_CONFIG), SMALL_CONFIG)
    features = random_features(2)
    pixels = torch.tensor([[1, y, x] for y in range(2, 5) for x in range(3, 6)])
    expected = branch.logits_at(features, pixels)

    for maps in features:
        scale = 16 // maps.shape[2]
        maps[0], maps[1, :, 4 // scale + 2 :] = torch.nan, torch.nan

    torch.testing.assert_close(branch.logits_at(features, pixels), expected, atol=0, rtol=0)


def test_float32_stays_within_a_rounding_of_float64() -> None:
    state = random_state(SMALL_CONFIG)
    features = random_features(2)
    exact = SegmentationBranch.from_members(state, SMALL_CONFIG)(features)
    single_state = {name: tensor.float() for name, tensor in state.items()}
    branch = SegmentationBranch.from_members(single_state, SMALL_CONFIG)

    seg_logits = branch([maps.float() for maps in features])

    assert seg_logits.dtype == torch.float32
    torch.testing.assert_close(seg_logits.double(), exact, atol=2e-5, rtol=1e-5)


def test_one_pixel_of_a_later_image_reads_the_shared_constant() -> None:
    sizes = ((4, 4), (8, 8), (8, 8), (16, 16), (32, 32))
    state, features = random_state(SMALL_CONFIG), random_features(3, sizes=sizes)
    branch = SegmentationBranch.from_members(state, SMALL_CONFIG, features[0][0])
    pixel = torch.tensor([[2, 5, 30]])

    logits = branch.logits_at(features, pixel)

    torch.testing.assert_close(logits[0], branch(features)[2, :, 5, 30], atol=1e-9, rtol=0)


def test_no_pixels_give_no_logits() -> None:
    branch = SegmentationBranch.from_members(random_state(SMALL_CONFIG), SMALL_CONFIG)
    none = torch.zeros(0, 3, dtype=torch.long)

    assert branch.logits_at(random_features(2), none).shape == (0, 4)


def test_whole_image_in_pieces_bounds_the_stacked_hidden_maps() -> None:
    config = SegmentationConfig(num_labels=3, feature_channels=(4, 4), members=10)
    state = random_state(config, dtype=torch.float32)
    branch = SegmentationBranch.from_members(state, config)
    features = random_features(1, config=config, sizes=((4, 4), (256, 256)), dtype=torch.float32)
    largest = 0

    class Recorder(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                largest = max(largest, out.numel() * out.element_size())
            return out

    with Recorder(), torch.inference_mode():
        branch(features)

    assert 10 * 128 * 256 * 256 * 4 > 300e6  # what one stacked map would take
    assert largest <= editvec.engine.segmentation.branch.CPU_PIECE_BYTES


def test_uncertain_pixels_score_the_image() -> None:
    uncertainty = torch.zeros(2, 10, 10)
    uncertainty[1, 0] = 0.5

    torch.testing.assert_close(image_uncertainty(uncertainty), torch.tensor([0.0, 0.5]))
    with pytest.raises(
        EngineSettingsError, match=r"fraction: expected a number in \(0, 1\], got 2"
    ):
        image_uncertainty(uncertainty, fraction=2)


def test_opposed_members_disagree_by_log_two() -> None:
    member_logits = torch.tensor([50.0, -50.0])[:, None, None, None, None] * torch.tensor(
        [1.0, -1.0]
    ).view(1, 1, 2, 1, 1)

    found = _divergence(member_logits)

    torch.testing.assert_close(found, torch.full((1, 1, 1), 2.0).log())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("1.layers.5.bias"), BundleError, r"1\.layers\.5\.bias is missing"),
        (lambda s: s.update({"x.y": s["0.layers.0.bias"]}), BundleError, "got 'x.y'"),
        (lambda s: s.update({"7.layers.0.bias": torch.ones(1)}), BundleError, "of 3 members"),
        (
            lambda s: s.update({"0.layers.4.bias": torch.ones(1)}),
            BundleError,
            r"unknown weight 0\.layers\.4\.bias",
        ),
        (
            lambda s: s.update({"2.layers.0.weight": torch.ones(8, 9).double()}),
            ShapeError,
            r"expected 2\.layers\.0\.weight of shape \[8, 22\], got \[8, 9\]",
        ),
        (
            lambda s: s.update({"2.layers.6.bias": torch.ones(4)}),
            ShapeError,
            r"got 2\.layers\.6\.bias as torch\.float32",
        ),
    ],
)
def test_wrong_members_are_refused_by_name(
    change: Callable[[dict[str, Tensor]], object], error: type[Exception], message: str
) -> None:
    state = random_state(SMALL_CONFIG)
    change(state)

    with pytest.raises(error, match=message):
        SegmentationBranch.from_members(state, SMALL_CONFIG)


def test_wrong_constant_is_refused() -> None:
    state = random_state(SMALL_CONFIG)
    plain = SegmentationConfig(
        num_labels=4, feature_channels=(5, 6, 4, 4, 3), members=3, hidden=(8, 6),
        constant_input=False,
    )  # fmt: skip

    with pytest.raises(ShapeError, match=r"constant: expected \[5, h, w\], got \[4, 4, 4\]"):
        SegmentationBranch.from_members(state, SMALL_CONFIG, torch.zeros(4, 4, 4))
    with pytest.raises(EngineSettingsError, match="constant"):
        SegmentationBranch.from_members(state, plain, torch.zeros(5, 4, 4))


def test_wrong_features_are_refused_by_name() -> None:
    branch = SegmentationBranch.from_members(random_state(SMALL_CONFIG), SMALL_CONFIG)
    features = random_features(2)

    with pytest.raises(ShapeError, match="features: expected at least one image"):
        branch(random_features(0))
    with pytest.raises(ShapeError, match="features: expected 5 maps, got 4"):
        branch(features[:4])
    with pytest.raises(ShapeError, match=r"features\[2\]: expected \[2, 4, h, w\]"):
        branch([*features[:2], features[4], *features[3:]])
    with pytest.raises(ShapeError, match=r"features\[4\]: expected maps from coarse to fine"):
        branch([*features[:4], features[4][:, :, :4]])
    with pytest.raises(ShapeError, match=r"features: expected torch.float64"):
        branch([maps.float() for maps in features])
    with pytest.raises(ShapeError, match=r"features\[1\]: expected torch.float64"):
        branch([features[0], *(maps.float() for maps in features[1:])])


@pytest.mark.parametrize(
    "pixels",
    [torch.tensor([[0, 16, 0]]), torch.tensor([[2, 0, 0]]), torch.tensor([[0, 0, -1]])],
)
def test_pixels_outside_the_images_are_refused(pixels: Tensor) -> None:
    branch = SegmentationBranch.from_members(random_state(SMALL_CONFIG), SMALL_CONFIG)

    with pytest.raises(ShapeError, match="inside"):
        branch.logits_at(random_features(2), pixels)
    with pytest.raises(ShapeError, match=r"expected integers \[P, 3\]"):
        branch.logits_at(random_features(2), pixels.float())
