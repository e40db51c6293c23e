"""rosinality's checkpoints against outputs of that program."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.checkpoint import read_generator
from editvec.engine.foreign.generators import ImportedGenerator
from editvec.engine.networks.generator import Generator
from tests.support.foreign_files import Trap, training_arguments, write_rosinality
from tests.support.places import FIXTURES


def fixture() -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """The generator's state, latent_avg, and what is expected."""
    tensors = load_file(FIXTURES / "rosinality_r32.weights.safetensors")
    state = {key.removeprefix("g_ema."): value for key, value in tensors.items() if "." in key}
    expected = load_file(FIXTURES / "rosinality_r32.expected.safetensors")
    return state, tensors["latent_avg"], expected


def load(imported: ImportedGenerator) -> Generator:
    generator = Generator(imported.config).eval()
    generator.load_state_dict(imported.state, strict=True)
    return generator


@torch.inference_mode()
def check_parity(imported: ImportedGenerator) -> None:
    _, _, expected = fixture()
    generator = load(imported)
    ws = generator.mapping(expected["z"])
    torch.testing.assert_close(ws, expected["ws"], atol=1e-5, rtol=0)
    for rows, images in (("ws", "img_fixed_noise"), ("ws_plus", "img_plus_fixed_noise")):
        made = generator.synthesis(expected[rows])
        torch.testing.assert_close(made, expected[images], atol=1e-4, rtol=0)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_converted_checkpoint_gives_the_pictures_of_the_reference(
    legacy: bool, tmp_path: Path
) -> None:
    state, latent_avg, _ = fixture()
    path = write_rosinality(tmp_path / "car.pt", state, legacy=legacy, latent_avg=latent_avg)

    imported = read_generator(path)

    check_parity(imported)
    assert torch.equal(imported.state["mapping.w_avg"], latent_avg)
    assert imported.notes == ()


def test_a_training_checkpoint_is_read_with_its_arguments(tmp_path: Path) -> None:
    state, _, _ = fixture()
    other = {key: torch.zeros_like(value) for key, value in state.items()}
    path = write_rosinality(
        tmp_path / "100000.pt",
        state,
        g=other,
        d={"final_conv.0.weight": torch.zeros(3)},
        g_optim={"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": []},
        args=training_arguments(),
        ada_aug_p=0.25,
    )

    imported = read_generator(path)

    check_parity(imported)
    # no latent_avg: the mean of W, estimated
    z = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    ws = load(imported).mapping(z)[:, 0]
    error = (imported.state["mapping.w_avg"] - ws.mean(dim=0)).abs()
    assert bool((error < 0.1 * ws.std(dim=0)).all())
    assert "estimated" in imported.notes[0]


def test_without_an_average_the_trained_generator_is_taken(tmp_path: Path) -> None:
    state, latent_avg, _ = fixture()
    torch.save({"g": state, "latent_avg": latent_avg}, tmp_path / "raw.pt")
    torch.save({**state, "latent_avg": latent_avg}, tmp_path / "state.pt")

    raw, bare = read_generator(tmp_path / "raw.pt"), read_generator(tmp_path / "state.pt")

    check_parity(raw)
    check_parity(bare)
    assert "g was taken" in raw.notes[0]


def test_old_checkpoints_without_noise_buffers_get_some(tmp_path: Path) -> None:
    state, latent_avg, _ = fixture()
    without = {key: value for key, value in state.items() if not key.startswith("noises")}
    path = write_rosinality(tmp_path / "old.pt", without, latent_avg=latent_avg)

    imported = read_generator(path)

    assert "no noise maps" in imported.notes[0]
    assert imported.state["synthesis.b32.conv1.noise_const"].std() > 0.9


def test_half_precision_is_converted(tmp_path: Path) -> None:
    state, latent_avg, _ = fixture()
    half = {key: value.half() for key, value in state.items()}
    path = write_rosinality(tmp_path / "half.pt", half, latent_avg=latent_avg.half())

    imported = read_generator(path)

    assert {value.dtype for value in imported.state.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"d": {"final_conv.0.weight": torch.zeros(1)}}, "only a discriminator"),
        ({"final_conv.0.weight": torch.zeros(1)}, "only a discriminator"),
        ({"generator": {"progression.0.conv": torch.zeros(1)}}, "StyleGAN1's"),
        ({"g_ema": {"generator.progression.0.conv": torch.zeros(1)}}, "StyleGAN1's"),
        ({"model": torch.zeros(1)}, "under g_ema, got model"),
        ({"g_ema": {"layers.0": torch.zeros(1)}}, r"unknown weights: layers\.0"),
        ({"g_ema": {"input.input": 3}}, "is int"),
        ({"g_ema": {}}, "channels, got no"),
        ([torch.zeros(1)], "expected a dict, got list"),
    ],
)
def test_other_networks_are_refused_by_name(content: Any, match: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")

    with pytest.raises(ForeignFileError, match=match) as caught:
        read_generator(tmp_path / "other.pt")

    assert str(caught.value).startswith("other.pt: ")


@pytest.mark.parametrize("legacy", [False, True])
def test_traps_are_refused_and_not_run(legacy: bool, tmp_path: Path) -> None:
    state, _, _ = fixture()
    marker = tmp_path / "ran"
    path = write_rosinality(tmp_path / "trap.pt", state, legacy=legacy, args=Trap(marker))

    with pytest.raises(ForeignFileError, match=r"trap\.pt: it names [\w.]*exec") as caught:
        read_generator(path)

    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_files_give_one_line(legacy: bool, tmp_path: Path) -> None:
    state, latent_avg, _ = fixture()
    path = write_rosinality(tmp_path / "car.pt", state, legacy=legacy, latent_avg=latent_avg)
    content = path.read_bytes()

    for end in (16, 500, len(content) // 2, len(content) - 20):
        path.write_bytes(content[:end])
        with pytest.raises(ForeignFileError, match=r"^car\.pt: ") as caught:
            read_generator(path)
        assert "\n" not in str(caught.value)


def test_archives_that_grow_are_refused(tmp_path: Path) -> None:
    state, latent_avg, _ = fixture()
    path = write_rosinality(tmp_path / "car.pt", state, latent_avg=latent_avg)
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)

    with pytest.raises(ForeignFileError, match="compressed zip"):
        read_generator(path)


def test_tensors_that_repeat_their_numbers_are_refused(tmp_path: Path) -> None:
    state, _, _ = fixture()
    large = torch.zeros(1).expand(10**6, 10**6)

    path = write_rosinality(tmp_path / "car.pt", {**state, "style.1.weight": large})

    with pytest.raises(ForeignFileError, match="larger than its numbers"):
        read_generator(path)


def test_old_files_with_nonsense_inside_give_one_line(tmp_path: Path) -> None:
    whole = write_rosinality(tmp_path / "car.pt", {}, legacy=True).read_bytes()
    start = whole[: whole.rindex(b"\x80\x02}q\x00X\x05\x00\x00\x00g_ema")]

    for content in (b"\x80\x02K\x01Q.", b"\x80\x02.", b"\x80\x02cos\nsystem\n.", b""):
        (tmp_path / "car.pt").write_bytes(start + content)
        with pytest.raises(ForeignFileError, match=r"^car\.pt: ") as caught:
            read_generator(tmp_path / "car.pt")
        assert "\n" not in str(caught.value)
