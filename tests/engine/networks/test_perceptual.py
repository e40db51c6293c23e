import subprocess
import sys
from pathlib import Path

import lpips
import pytest
import torch
from torch import Tensor

from editvec.engine.errors import EngineSettingsError, ShapeError, WeightsUnavailableError
from editvec.engine.networks import perceptual
from editvec.engine.networks.config import PerceptualConfig
from editvec.engine.networks.perceptual import Head, build_perceptual, load_lpips
from editvec.engine.networks.trunks import PUBLISHED_TRUNKS
from tests.support.published_trunks import write_trunk


def _random_images(count: int, *, size: int = 32, seed: int = 0, dtype=torch.float64) -> Tensor:
    return torch.rand(
        count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype
    )


@pytest.mark.parametrize(
    "trunk",
    [
        "squeeze",
        "alex",
        pytest.param("vgg", marks=pytest.mark.slow),
    ],
)
def test_published_trunks_equal_the_lpips_package(trunk: str, tmp_path: Path, capsys) -> None:
    reference = write_trunk(trunk, tmp_path / "trunk.pth")
    a, b = (_random_images(2, size=64, seed=seed, dtype=torch.float32) for seed in (1, 2))

    distance = load_lpips(trunk, weights=tmp_path / "trunk.pth")

    assert distance.name == f"lpips/{trunk}"
    expected = reference(a, b, normalize=True).flatten()
    torch.testing.assert_close(distance(a, b), expected, atol=1e-6, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    assert capsys.readouterr() == ("", "")


def test_the_published_trunks_are_those_that_can_be_loaded() -> None:
    assert set(PUBLISHED_TRUNKS) == set(perceptual._PUBLISHED)
    with pytest.raises(EngineSettingsError, match="trunk: expected one of vgg, alex, squeeze"):
        load_lpips("resnet")  # type: ignore[arg-type]


def test_names_of_trunks_need_no_torch() -> None:
    program = "import sys; import editvec.engine.networks.trunks; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_networks_without_a_published_trunk_need_neither_lpips_nor_torchvision() -> None:
    program = (
        "import sys; import editvec.engine.editor; "
        "from editvec.engine.networks.config import PerceptualConfig; "
        "from editvec.engine.networks.perceptual import build_perceptual; "
        "build_perceptual(PerceptualConfig('small', (4, 8))); "
        "sys.exit(', '.join({'lpips', 'torchvision', 'torch._dynamo'} & set(sys.modules)) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_head_is_that_of_the_lpips_package() -> None:
    theirs, ours = lpips.NetLinLayer(8), Head(8)

    ours.load_state_dict(theirs.state_dict())

    differences = torch.rand(2, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(differences), theirs(differences))


def test_cached_weights_are_found_in_the_usual_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    write_trunk("squeeze", checkpoints / "squeezenet1_1-b8a52dc0.pth")
    before = torch.get_rng_state()

    distance = load_lpips("squeeze")

    assert distance.name == "lpips/squeeze"
    assert torch.equal(torch.get_rng_state(), before)


def test_unavailable_weights_say_how_to_get_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = "http://127.0.0.1:9/vgg16-397923af.pth"
    monkeypatch.setattr(perceptual, "_published_url", lambda trunk: url)

    with pytest.raises(WeightsUnavailableError) as caught:
        load_lpips("vgg")

    message = str(caught.value)
    assert url in message
    assert str(tmp_path / "hub" / "checkpoints") in message
    assert "\n" not in message


def test_weight_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    damaged, other = tmp_path / "damaged.pth", tmp_path / "other.pth"
    damaged.write_bytes(b"not a weight file")
    torch.save({"features.0.weight": torch.zeros(1)}, other)

    with pytest.raises(WeightsUnavailableError, match="does not exist"):
        load_lpips("squeeze", weights=tmp_path / "nowhere.pth")
    with pytest.raises(WeightsUnavailableError, match="cannot be read"):
        load_lpips("squeeze", weights=damaged)
    with pytest.raises(WeightsUnavailableError, match="is missing"):
        load_lpips("squeeze", weights=other)
    with pytest.raises(EngineSettingsError, match="trunk"):
        load_lpips("resnet")


def _reference_distance(distance, a: Tensor, b: Tensor) -> list[float]:
    """Eq. 1 of Zhang et al. 2018, pixel by pixel."""
    results = []
    for image_a, image_b in zip(a, b, strict=True):
        total = 0.0
        maps_a, maps_b = (
            distance.trunk(distance.scaling(2 * i[None] - 1)) for i in (image_a, image_b)
        )
        for head, map_a, map_b in zip(distance.heads, maps_a, maps_b, strict=True):
            weights = head.model[0].weight.flatten()
            height, width = map_a.shape[2:]
            for y in range(height):
                for x in range(width):
                    p, q = map_a[0, :, y, x], map_b[0, :, y, x]
                    p, q = p / (p.norm() + 1e-10), q / (q.norm() + 1e-10)
                    total += float((weights * (p - q) ** 2).sum()) / (height * width)
        results.append(total)
    return results


def test_a_bundles_trunk_computes_the_same_formula_under_its_own_name() -> None:
    torch.manual_seed(0)
    distance = build_perceptual(PerceptualConfig("faces", channels=(4, 6))).double().eval()
    a, b = _random_images(2, size=8, seed=1), _random_images(2, size=8, seed=2)

    with torch.no_grad():
        values = distance(a, b)
        expected = _reference_distance(distance, a, b)

    assert distance.name == "perceptual/faces"
    assert values.tolist() == pytest.approx(expected, rel=1e-9)
    assert distance(a, a).abs().max() == 0
    torch.testing.assert_close(values, distance(b, a))


def test_target_features_are_computed_once_and_compared_often() -> None:
    distance = build_perceptual(PerceptualConfig("faces", channels=(4, 6))).double()
    a, b = _random_images(3, seed=1), _random_images(3, seed=2)
    target = distance.features(b)

    assert torch.equal(distance.distance(distance.features(a), target), distance(a, b))


def test_gradients_stay_finite_where_a_masked_image_silences_the_trunk() -> None:
    distance = build_perceptual(PerceptualConfig("faces", channels=(4, 6))).double()
    for stage in distance.trunk.stages:
        for layer in stage:
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.constant_(layer.bias, -10.0)
    images = torch.zeros(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)

    distance(images, _random_images(1, size=8)).sum().backward()

    assert torch.isfinite(images.grad).all()


def test_features_that_do_not_pair_up_are_refused() -> None:
    distance = build_perceptual(PerceptualConfig("faces", channels=(4, 6))).double()

    with pytest.raises(ShapeError, match="features_a, features_b"):
        distance(_random_images(1, size=16), _random_images(1, size=32))
    with pytest.raises(ShapeError, match="at least 2x2"):
        distance.features(_random_images(1, size=1))
