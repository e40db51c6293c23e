"""NVIDIA's PyTorch pickles, in their exact container, with sources that must never run."""

import contextlib
import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.checkpoint import read_generator
from editvec.engine.foreign.generators import ImportedGenerator
from editvec.engine.networks.generator import Generator
from tests.support.foreign_files import (
    Persistent,
    Trap,
    faked_modules,
    persistent_generator,
    snapshot,
    trap_source,
    write_pickle,
)
from tests.support.places import FIXTURES
from tests.support.stylegan2_reference import Reference

NAMES = ("nvlabs_r32_map2", "nvlabs_r64_map8")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that appears when anything runs the code in a checkpoint."""
    return tmp_path / "ran"


def fixture_state(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = FIXTURES / f"{name}.weights.safetensors"
    with safe_open(path, framework="pt") as file:
        kwargs = json.loads(file.metadata()["init_kwargs"])
    return load_file(path), kwargs


def write(path: Path, marker: Path, name: str = NAMES[0], **attributes: Any) -> Path:
    """A training's snapshot around a fixture's generator."""
    state, kwargs = fixture_state(name)
    source = trap_source(marker)
    generator = persistent_generator(state, source, **kwargs, **attributes)
    return write_pickle(path, snapshot(generator, source))


def load(imported: ImportedGenerator) -> Generator:
    generator = Generator(imported.config).eval()
    generator.load_state_dict(imported.state, strict=True)
    return generator


@pytest.mark.parametrize(
    ("name", "protocol"), [(NAMES[0], 2), (NAMES[0], 3), (NAMES[0], 5), (NAMES[1], 4)]
)
def test_a_snapshot_gives_the_pictures_of_the_reference(
    name: str, protocol: int, tmp_path: Path, marker: Path
) -> None:
    state, kwargs = fixture_state(name)
    source = trap_source(marker)
    content = snapshot(persistent_generator(state, source, **kwargs), source)
    path = write_pickle(tmp_path / "network-snapshot.pkl", content, protocol=protocol)

    imported = read_generator(path)

    expected = load_file(FIXTURES / f"{name}.expected.safetensors")
    generator = load(imported)
    with torch.inference_mode():
        ws = generator.mapping(expected["z"])
        truncated = generator.mapping(expected["z"], truncation_psi=0.7)
        images = generator.synthesis(expected["ws"])
        plain = generator.synthesis(expected["ws"], noise_mode="none")
        independent = generator.synthesis(expected["ws_plus"])
    torch.testing.assert_close(ws, expected["ws"], atol=1e-5, rtol=0)
    torch.testing.assert_close(truncated, expected["ws_psi07"], atol=1e-5, rtol=0)
    torch.testing.assert_close(images, expected["img_const"], atol=1e-4, rtol=0)
    torch.testing.assert_close(plain, expected["img_none"], atol=1e-4, rtol=0)
    torch.testing.assert_close(independent, expected["img_plus_const"], atol=1e-4, rtol=0)
    assert imported.config.channel_base == kwargs["channel_base"]
    assert imported.config.mapping_layers == kwargs["mapping_kwargs"]["num_layers"]
    assert imported.notes == ()
    assert not marker.exists()


def test_the_traps_are_live(tmp_path: Path, marker: Path) -> None:
    path = write(tmp_path / "network.pkl", marker)

    with faked_modules(), path.open("rb") as file:
        pickle.load(file)

    assert marker.exists()


def test_attributes_of_layers_become_settings(tmp_path: Path, marker: Path) -> None:
    path = write(tmp_path / "network.pkl", marker, conv_clamp=256)

    assert read_generator(path).config.conv_clamp == 256.0


def _tensorflow_names(state: dict[str, Tensor], resolution: int) -> dict[str, Any]:
    """The variables that the equations of the reference read, from tensors in NVIDIA's layout."""
    variables: dict[str, Any] = {"synthesis/4x4/Const/const": state["synthesis.b4.const"][None]}
    names = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB", "skip": "Skip"}
    for key, tensor in state.items():
        parts = key.split(".")
        if parts[0] == "mapping" and parts[1][:2] == "fc":
            value = tensor.t() if parts[2] == "weight" else tensor
            variables[f"mapping/Dense{parts[1][2:]}/{parts[2]}"] = value
        if parts[0] != "synthesis" or parts[2] == "const":
            continue
        size = int(parts[1][1:])
        layer = "Conv" if (size, parts[2]) == (4, "conv1") else names[parts[2]]
        path, name = f"synthesis/{size}x{size}/{layer}", ".".join(parts[3:])
        value = tensor
        if name == "weight":
            value = tensor.permute(2, 3, 1, 0)
            value = value.flip(0, 1) if layer == "Conv0_up" else value
        elif name == "noise_const":
            index = 0 if size == 4 else 2 * (size.bit_length() - 3) - (parts[2] == "conv0")
            path, name, value = "synthesis", f"noise{index}", tensor[None, None]
        renamed = {"affine.weight": "mod_weight", "affine.bias": "mod_bias"}.get(name, name)
        value = value.t() if renamed == "mod_weight" else value
        variables[f"{path}/{renamed}"] = value - 1 if renamed == "mod_bias" else value
    return variables


def test_a_resnet_generator_equals_the_equations(tmp_path: Path, marker: Path) -> None:
    from editvec.engine.networks.config import GeneratorConfig

    config = GeneratorConfig(
        32, z_dim=6, w_dim=8, channel_base=128, channel_max=10, architecture="resnet"
    )
    torch.manual_seed(0)
    state = {k: v + 0.1 * torch.randn_like(v) for k, v in Generator(config).state_dict().items()}
    source = trap_source(marker)
    generator = persistent_generator(state, source, conv_clamp=3.0)
    path = write_pickle(tmp_path / "network.pkl", snapshot(generator, source))

    imported = read_generator(path)

    assert imported.config.architecture == "resnet"
    ws = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    reference = Reference(_tensorflow_names(state, 32), 32, "resnet", conv_clamp=3.0)
    images = load(imported).synthesis(ws)
    torch.testing.assert_close(images.double(), reference.synthesis(ws), atol=1e-4, rtol=0)


def test_a_conditional_generator_is_folded_for_its_label(tmp_path: Path, marker: Path) -> None:
    state, _ = fixture_state(NAMES[0])
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(12, 5, generator=random), torch.randn(12, generator=random)
    first = torch.randn(32, 32 + 12, generator=random) * 100
    state |= {"mapping.embed.weight": weight, "mapping.embed.bias": bias}
    state["mapping.fc0.weight"] = first
    source = trap_source(marker)
    content = snapshot(persistent_generator(state, source, c_dim=5), source)
    path = write_pickle(tmp_path / "network.pkl", content)

    imported = read_generator(path, label_classes=[3])

    z = torch.randn(16, 32, generator=random)
    variables = _tensorflow_names(
        {key: value for key, value in state.items() if "resample" not in key}, 32
    )
    variables |= {"mapping/LabelEmbed/weight": weight.t(), "mapping/LabelEmbed/bias": bias}
    expected = Reference(variables, 32).mapping(z, torch.eye(5)[3])
    ws = load(imported).mapping(z)[:, 0]
    torch.testing.assert_close(ws.double(), expected, atol=1e-5, rtol=0)
    assert imported.state["mapping.w_avg"].abs().max() > 0


def test_two_imports_of_one_file_are_the_same_to_the_bit(tmp_path: Path, marker: Path) -> None:
    path = write(tmp_path / "network.pkl", marker)

    first, second = read_generator(path), read_generator(path)

    assert first.state.keys() == second.state.keys()
    assert all(torch.equal(first.state[key], second.state[key]) for key in first.state)


def test_grey_generators_make_three_equal_colours(tmp_path: Path, marker: Path) -> None:
    state, _ = fixture_state(NAMES[0])
    for key in [key for key in state if ".torgb.weight" in key or ".torgb.bias" in key]:
        state[key] = state[key][:1].clone()
    source = trap_source(marker)
    path = write_pickle(
        tmp_path / "grey.pkl", snapshot(persistent_generator(state, source), source)
    )

    imported = read_generator(path)

    expected = load_file(FIXTURES / f"{NAMES[0]}.expected.safetensors")
    images = load(imported).synthesis(expected["ws"])
    for channel in range(3):
        torch.testing.assert_close(
            images[:, channel], expected["img_const"][:, 0], atol=1e-4, rtol=0
        )
    assert "grey" in imported.notes[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_converted(
    dtype: torch.dtype, tmp_path: Path, marker: Path
) -> None:
    state, _ = fixture_state(NAMES[0])
    source = trap_source(marker)
    converted = {key: value.to(dtype) for key, value in state.items()}
    content = snapshot(persistent_generator(converted, source), source)
    path = write_pickle(tmp_path / "network.pkl", content)

    imported = read_generator(path)

    assert {value.dtype for value in imported.state.values()} == {torch.float32}
    key = "synthesis.b16.conv0.weight"
    assert torch.equal(imported.state[key], converted[key].float())


def test_a_generator_alone_and_one_without_averages_are_read(tmp_path: Path, marker: Path) -> None:
    state, _ = fixture_state(NAMES[0])
    source = trap_source(marker)
    generator = persistent_generator(state, source)

    alone = read_generator(write_pickle(tmp_path / "alone.pkl", generator))
    raw = read_generator(write_pickle(tmp_path / "raw.pkl", {"G": generator, "D": None}))

    assert torch.equal(alone.state["mapping.w_avg"], state["mapping.w_avg"])
    assert alone.notes == ()
    assert "G was taken" in raw.notes[0]


# ----------------------------------------------------------------------------------------------
# What a file may lack


def rewritten(state: dict[str, Tensor], tmp_path: Path, marker: Path) -> Path:
    source = trap_source(marker)
    content = snapshot(persistent_generator(state, source), source)
    return write_pickle(tmp_path / "network.pkl", content)


def test_noise_maps_that_are_missing_are_drawn_and_said(tmp_path: Path, marker: Path) -> None:
    state, _ = fixture_state(NAMES[0])
    without = {key: value for key, value in state.items() if "noise_const" not in key}
    path = rewritten(without, tmp_path, marker)

    first, second = read_generator(path), read_generator(path)

    assert "no noise maps" in first.notes[0]
    key = "synthesis.b32.conv0.noise_const"
    assert torch.equal(first.state[key], second.state[key])
    assert 0.9 < float(first.state[key].std()) < 1.1
    expected = load_file(FIXTURES / f"{NAMES[0]}.expected.safetensors")
    images = load(first).synthesis(expected["ws"], noise_mode="none")
    torch.testing.assert_close(images, expected["img_none"], atol=1e-4, rtol=0)


def test_generators_without_noise_have_none(tmp_path: Path, marker: Path) -> None:
    state, _ = fixture_state(NAMES[0])
    without = {key: value for key, value in state.items() if "noise_" not in key}

    imported = read_generator(rewritten(without, tmp_path, marker))

    expected = load_file(FIXTURES / f"{NAMES[0]}.expected.safetensors")
    images = load(imported).synthesis(expected["ws"])
    torch.testing.assert_close(images, expected["img_none"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.pop("synthesis.b16.conv0.noise_const"), r"missing noise: synthesis\.b16"),
        (lambda s: s.pop("synthesis.b16.conv0.weight"), "missing weights: synthesis.b16.conv0.w"),
        (lambda s: s.pop("synthesis.b4.const"), "missing weights: synthesis.b4.const"),
        (lambda s: s.update({"synthesis.b16.extra": torch.zeros(2)}), "unknown weights"),
        (lambda s: s.update({"synthesis.b4.const": torch.zeros(32, 4, 8)}), "const of shape"),
        (lambda s: s.update({"mapping.fc1.weight": torch.zeros(32, 31)}), "fc1.weight of shape"),
        (lambda s: s.update({"mapping.fc0.weight": torch.zeros(32)}), "2 dimensions"),
        (lambda s: s.update({"mapping.w_avg": torch.full([32], torch.nan)}), "finite"),
        (lambda s: s.update({"mapping.w_avg": torch.zeros(32, dtype=torch.long)}), "floating"),
        (lambda s: s.update({"synthesis.b4.resample_filter": torch.ones(4, 4)}), "filter"),
        (
            lambda s: s.update({k: v[:2] for k, v in s.items() if "torgb.weight" in k}),
            "1 or 3 channels, got 2",
        ),
        (
            lambda s: [s.pop(k) for k in list(s) if ".b8." in k],
            "blocks of 4, 8, 16... pixels",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    change: Any, match: str, tmp_path: Path, marker: Path
) -> None:
    state, _ = fixture_state(NAMES[0])
    change(state)

    with pytest.raises(ForeignFileError, match=match) as caught:
        read_generator(rewritten(state, tmp_path, marker))

    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("network.pkl: ")


# ----------------------------------------------------------------------------------------------
# What is refused


def test_other_networks_are_refused_by_name(tmp_path: Path, marker: Path) -> None:
    source = trap_source(marker)

    def refused(content: object, match: str) -> None:
        with pytest.raises(ForeignFileError, match=match):
            read_generator(write_pickle(tmp_path / "network.pkl", content))
        assert not marker.exists()

    discriminator = Persistent("Discriminator", source)
    refused({"D": discriminator}, "expected a generator, got only Discriminator")
    refused(discriminator, "expected a generator, got Discriminator")
    alias_free = Persistent("Generator", source)
    synthesis = Persistent("SynthesisNetwork", source)
    synthesis.add_module("input", Persistent("SynthesisInput", source))
    synthesis.add_module("L0_36_512", Persistent("SynthesisLayer", source))
    alias_free.add_module("synthesis", synthesis)
    alias_free.add_module("mapping", Persistent("MappingNetwork", source))
    refused({"G_ema": alias_free}, "StyleGAN3's alias-free")
    refused({"G_ema": Persistent("TriPlaneGenerator", source)}, "got TriPlaneGenerator")
    refused({"weights": [1, 2]}, "expected G_ema or G, got weights")
    refused([1, 2], "expected the networks")
    state, _ = fixture_state(NAMES[0])
    relu = persistent_generator(state, source)
    dict(relu.named_modules())["synthesis.b8.conv0"].activation = "relu"
    refused({"G_ema": relu}, "b8.conv0: expected activation lrelu, got 'relu'")


class Foreign:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_foreign_names_are_refused_and_not_run(tmp_path: Path, marker: Path) -> None:
    import os
    import shutil

    state, _ = fixture_state(NAMES[0])
    source = trap_source(marker)
    generator = persistent_generator(state, source)
    for trap, match in (
        (Trap(marker), r"names builtins\.exec"),
        (Foreign(os.mkdir, str(marker)), r"names posix\.mkdir"),
        (Foreign(shutil.copyfile, __file__, str(marker)), r"names shutil\.copyfile"),
        (Foreign(getattr, "text", "upper"), r"names builtins\.getattr"),
        (Path("somewhere"), r"names pathlib\.PosixPath"),
        (np.array([1, "x"], dtype=object), "numpy dtype 'O8'"),
    ):
        for protocol in (2, 4):
            content = snapshot(generator, source, extra=trap)
            path = write_pickle(tmp_path / "network.pkl", content, protocol=protocol)
            with pytest.raises(ForeignFileError, match=match) as caught:
                read_generator(path)
            assert "\n" not in str(caught.value)
    assert not marker.exists()


class InnerTensor:
    """Pickles as a tensor whose bytes are whatever is given."""

    def __init__(self, content: bytes, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        storage = Foreign(torch.storage._load_from_bytes, content)
        arguments = (storage, 0, shape, stride, False, OrderedDict())
        self.call = (torch._utils._rebuild_tensor_v2, arguments)

    def __reduce__(self) -> Any:
        return self.call


def with_inner(tensor: InnerTensor, tmp_path: Path, marker: Path) -> Path:
    """A snapshot, one of whose tensors is the given one."""
    state, _ = fixture_state(NAMES[0])
    source = trap_source(marker)
    generator = persistent_generator(state, source)
    mapping: Any = generator.mapping
    mapping._buffers["w_avg"] = tensor
    return write_pickle(tmp_path / "network.pkl", snapshot(generator, source))


def payload(tmp_path: Path, content: object) -> bytes:
    path = tmp_path / "payload"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


def test_traps_in_the_bytes_of_a_tensor_never_run(tmp_path: Path, marker: Path) -> None:
    trapped = InnerTensor(payload(tmp_path, Trap(marker)), (32,), (1,))
    path = with_inner(trapped, tmp_path, marker)

    with pytest.raises(ForeignFileError, match=r"mapping\.w_avg: it names \w*\.?exec") as caught:
        read_generator(path)

    assert "\n" not in str(caught.value)
    assert not marker.exists()
    torch.load(tmp_path / "payload", weights_only=False)  # in earnest, it does
    assert marker.exists()


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_tensors_larger_than_their_bytes_are_refused(tmp_path: Path, marker: Path) -> None:
    numbers = payload(tmp_path, torch.zeros(32).storage())
    for shape, stride in (
        ((33,), (1,)),
        ((10**9, 32), (0, 1)),
        ((32,), (2**40,)),
        ((-1,), (1,)),
        ((32,), (1, 1)),
        ((), ()),
    ):
        path = with_inner(InnerTensor(numbers, shape, stride), tmp_path, marker)
        with pytest.raises(ForeignFileError, match="w_avg"):
            read_generator(path)
    path = with_inner(InnerTensor(numbers[:-9], (32,), (1,)), tmp_path, marker)
    with pytest.raises(ForeignFileError, match="w_avg"):
        read_generator(path)


def test_truncated_and_altered_files_give_one_line(tmp_path: Path, marker: Path) -> None:
    content = write(tmp_path / "whole.pkl", marker).read_bytes()
    path = tmp_path / "network.pkl"
    random = np.random.default_rng(0)

    for end in [0, 1, 2, 20, *random.integers(0, len(content) - 1, size=15).tolist()]:
        path.write_bytes(content[:end])
        with pytest.raises(ForeignFileError) as caught:
            read_generator(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith("network.pkl")
    for _ in range(15):
        altered = bytearray(content)
        altered[int(random.integers(0, 40_000))] ^= int(random.integers(1, 256))
        path.write_bytes(altered)
        # a changed weight, or a name that nobody reads, is no fault
        with contextlib.suppress(ForeignFileError):
            read_generator(path)
    assert not marker.exists()


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ForeignFileError, match="No such file"):
        read_generator(tmp_path / "nothing.pkl")
    with pytest.raises(ForeignFileError, match="Is a directory"):
        read_generator(tmp_path)
