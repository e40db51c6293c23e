import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from editvec.engine.bundle.bundle import (
    NetworkState,
    generator_digest,
    load_bundle,
    read_networks,
    write_bundle,
)
from editvec.engine.bundle.description import BundleLabel, canonical_json
from editvec.engine.errors import BundleError, EngineSettingsError
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Generator

CONFIG = GeneratorConfig(16, z_dim=4, w_dim=4, channel_base=64, channel_max=4, mapping_layers=1)


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(small, tmp_path / "copy"))


def _write(folder: Path, **changes: Any) -> None:
    values: dict[str, Any] = {
        "class_name": "thing",
        "description": "A thing",
        "license": "CC0-1.0",
        "labels": [BundleLabel(0, "background", (0, 0, 0))],
        "networks": {"generator": NetworkState(CONFIG, Generator(CONFIG).state_dict())},
        "built": {},
        **changes,
    }
    write_bundle(folder, **values)


def _change(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change bundle.json and make its own digest right again."""
    path = folder / "bundle.json"
    values = json.loads(path.read_text())
    change(values)
    values.pop("bundle_digest", None)
    values["bundle_digest"] = hashlib.sha256(canonical_json(values).encode()).hexdigest()
    path.write_text(json.dumps(values))


def _listed(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of the bundle, with its right size and digest."""
    (folder / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    _change(folder, lambda v: v["files"].update({name: {"sha256": digest, "bytes": len(content)}}))


# ----------------------------------------------------------------------------------------------
# What is there


def test_a_bundle_loads_with_all_networks_frozen(tiny_bundle: Path) -> None:
    loaded = load_bundle(tiny_bundle)

    networks = loaded[1:]
    assert all(network is not None for network in networks)
    for network in networks:
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    generator = Generator(CONFIG)
    _write(tmp_path / "b", networks={"generator": NetworkState(CONFIG, generator.state_dict())})
    before = torch.get_rng_state()

    loaded = load_bundle(tmp_path / "b")

    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in loaded.generator.state_dict().items():
        assert torch.equal(tensor, generator.state_dict()[name])
    assert loaded.encoder is None
    assert loaded.segmentation is None


def test_networks_on_a_cpu_make_the_same_of_maps_in_their_faster_layout(small: Path) -> None:
    loaded = load_bundle(small)
    ws, images = torch.randn(2, 6, 8), torch.rand(2, 3, 16, 16) * 2 - 1
    networks = (loaded.generator.synthesis, loaded.encoder, loaded.classifier, loaded.identity)

    for network, values in zip(networks, (ws, images, images, images), strict=True):
        assert network is not None
        found = network(values)
        weights = [one for one in network.parameters() if one.ndim == 4 and one.shape[2] > 1]
        assert weights
        assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)
        torch.testing.assert_close(found, network.to(memory_format=torch.contiguous_format)(values))


def test_the_description_says_what_the_class_is(small: Path) -> None:
    bundle = read_networks(small)[0]
    values = json.loads((small / "bundle.json").read_text())

    assert (bundle.class_name, bundle.resolution, bundle.num_ws, bundle.w_dim) == ("tiny", 16, 6, 8)
    assert bundle.valid_rectangle == (0, 0, 16, 16)
    assert bundle.labels[4] == BundleLabel(4, "mouth", (160, 95, 104))
    assert bundle.label_index("mouth") == 4
    assert bundle.label_indices(["mouth", "teeth"]) == [4, 5] == bundle.label_indices([4, 5])
    assert values["bundle_digest"] == bundle.bundle_digest
    with pytest.raises(EngineSettingsError, match="nose"):
        bundle.label_index("nose")
    with pytest.raises(EngineSettingsError, match="0 to 5"):
        bundle.label_indices([6])
    with pytest.raises(EngineSettingsError, match="at least one"):
        bundle.label_indices([])


def test_the_same_networks_make_the_same_bytes(
    make_tiny_bundle: Callable[..., Path], small: Path, tmp_path: Path
) -> None:
    again = make_tiny_bundle(tmp_path / "again", resolution=16)

    for path in small.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_the_bundle_digest_covers_everything_but_itself(small: Path) -> None:
    values = json.loads((small / "bundle.json").read_text())
    digest = values.pop("bundle_digest")
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))

    assert hashlib.sha256(text.encode()).hexdigest() == digest


def test_the_generator_digest_depends_on_names_shapes_and_values_only(small: Path) -> None:
    state = safetensors.torch.load_file(small / "generator.safetensors")
    digest = generator_digest(state)

    assert digest == read_networks(small)[0].generator_digest
    assert digest == generator_digest(dict(reversed(state.items())))
    name = "mapping.w_avg"
    assert digest != generator_digest({**state, name: state[name] + 1e-6})
    assert digest != generator_digest({**state, name: state[name].double()})
    assert digest != generator_digest({**state, name: state[name][None]})
    expected = hashlib.sha256()
    for key in sorted(state):
        array = state[key].numpy()
        expected.update(
            f'["{key}","float32",{json.dumps(list(array.shape), separators=",:")}]\n'.encode()
        )
        expected.update(array.astype("<f4").tobytes())
    assert digest == expected.hexdigest()


def test_files_may_hold_half_precision(copy: Path, small: Path) -> None:
    for name in ("segmentation.safetensors", "encoder.safetensors"):
        state = safetensors.torch.load_file(copy / name)
        halved = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        _listed(copy, name, safetensors.torch.save(halved))

    half, full = load_bundle(copy), load_bundle(small)

    ws = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    for loaded in (half, full):
        assert loaded.encoder is not None
        assert {p.dtype for p in loaded.encoder.parameters()} == {torch.float32}
    features = full.generator.synthesis.with_features(ws).features
    torch.testing.assert_close(
        half.segmentation(features), full.segmentation(features), atol=0.05, rtol=0.01
    )


# ----------------------------------------------------------------------------------------------
# What is refused


def test_every_altered_byte_is_found(copy: Path) -> None:
    random = np.random.default_rng(0)
    for path in sorted(copy.iterdir()):
        content = path.read_bytes()
        for position in random.integers(0, len(content), size=3).tolist():
            altered = bytearray(content)
            altered[position] ^= 0x01
            path.write_bytes(altered)
            with pytest.raises(BundleError):
                read_networks(copy)
        path.write_bytes(content)
    read_networks(copy)


@pytest.mark.parametrize("name", ["bundle.json", "generator.safetensors", "identity.safetensors"])
def test_missing_and_truncated_files_are_found(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()

    (copy / name).write_bytes(content[:-7])
    with pytest.raises(BundleError):
        read_networks(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        read_networks(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(format="other"), "format"),
        (lambda v: v.update(format_version=2), "format_version 1"),
        (lambda v: v.pop("labels"), "'labels' is missing"),
        (lambda v: v.pop("networks"), "'networks' is missing"),
        (lambda v: v.update(networks=[]), "wrong type"),
        (lambda v: v.update(class_name="../up"), "class_name"),
        (lambda v: v.update(class_name=7), "class_name"),
        (lambda v: v.update(resolution=64), "resolution"),
        (lambda v: v.update(surprise=1), "surprise"),
        (lambda v: v.update(valid_rectangle=[0, 0, 17, 16]), "valid_rectangle"),
        (lambda v: v.update(valid_rectangle=[0, 0, 1.5, 16]), "integers"),
        (lambda v: v["labels"][1].update(index=5), "labels"),
        (lambda v: v["labels"][1].update(name="background"), "different names"),
        (lambda v: v["labels"][1].update(color=[0, 0, 256]), "colours"),
        (lambda v: v["labels"].pop(), "num_labels"),
        (lambda v: v["networks"].pop("generator"), "generator"),
        (lambda v: v["networks"].update(extra={"file": "x", "config": {}}), "extra"),
        (lambda v: v["networks"]["encoder"].update(file="../../secret.safetensors"), "one file"),
        (lambda v: v["networks"]["encoder"]["config"].update(num_ws=5), "num_ws 6"),
        (lambda v: v["networks"]["encoder"]["config"].update(depth=5), "depth"),
        (lambda v: v["networks"]["generator"]["config"].update(resolution=17), "resolution"),
        (lambda v: v["files"]["encoder.safetensors"].update(bytes=10**15), "bytes"),
        (lambda v: v["files"]["encoder.safetensors"].update(sha256="0"), "SHA-256"),
        (lambda v: v.update(generator_digest="0" * 64), "generator_digest"),
    ],
)
def test_inconsistent_descriptions_are_refused(copy: Path, change: Any, message: str) -> None:
    _change(copy, change)

    with pytest.raises(BundleError, match=message) as caught:
        read_networks(copy)
    assert "\n" not in str(caught.value)


def test_no_file_outside_the_folder_is_opened(copy: Path) -> None:
    (copy.parent / "up.safetensors").write_bytes((copy / "encoder.safetensors").read_bytes())

    def escape(values: dict[str, Any]) -> None:
        values["networks"]["encoder"]["file"] = "../up.safetensors"
        values["files"]["../up.safetensors"] = values["files"].pop("encoder.safetensors")

    _change(copy, escape)

    with pytest.raises(BundleError, match="files"):
        load_bundle(copy)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": NaN}', "[" * 100_000])
def test_descriptions_that_are_no_json_object_are_refused(copy: Path, text: str) -> None:
    (copy / "bundle.json").write_text(text)

    with pytest.raises(BundleError):
        read_networks(copy)


def test_pickles_are_never_read(copy: Path) -> None:
    path = copy / "encoder.pt"
    torch.save({"weight": torch.zeros(1)}, path)
    _listed(copy, "encoder.safetensors", path.read_bytes())

    with pytest.raises(BundleError, match="safetensors"):
        read_networks(copy)


def test_missing_and_unknown_weights_are_listed(copy: Path) -> None:
    # of the bytes: what a mapped file gives changes with the file
    state = safetensors.torch.load((copy / "encoder.safetensors").read_bytes())
    weight = state.pop("stem.weight")

    _listed(copy, "encoder.safetensors", safetensors.torch.save(state))
    with pytest.raises(BundleError, match=r"encoder: missing weights: stem\.weight"):
        load_bundle(copy)
    state.update({"stem.weight": weight, "surprise": weight.clone()})
    _listed(copy, "encoder.safetensors", safetensors.torch.save(state))
    with pytest.raises(BundleError, match="encoder: unknown weights: surprise"):
        load_bundle(copy)
    state.pop("surprise")
    state["stem.weight"] = weight[:1].clone()
    _listed(copy, "encoder.safetensors", safetensors.torch.save(state))
    with pytest.raises(BundleError, match=r"stem\.weight of shape"):
        load_bundle(copy)
    state["stem.weight"] = weight * torch.nan
    _listed(copy, "encoder.safetensors", safetensors.torch.save(state))
    with pytest.raises(BundleError, match="finite"):
        load_bundle(copy)


# ----------------------------------------------------------------------------------------------
# Writing


def test_a_folder_with_other_files_is_never_touched(tmp_path: Path, copy: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (copy / "notes.txt").write_text("about this bundle")

    with pytest.raises(BundleError, match="new or empty"):
        _write(tmp_path / "mine")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        _write(tmp_path / "mine", replace=True)
    with pytest.raises(BundleError, match=r"notes\.txt"):
        _write(copy, replace=True)
    with pytest.raises(BundleError, match="is a file"):
        _write(tmp_path / "mine" / "thesis.txt")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    read_networks(copy)


def test_a_bundle_is_replaced_only_when_asked(copy: Path) -> None:
    with pytest.raises(BundleError, match="new or empty"):
        _write(copy)

    _write(copy, replace=True)

    assert read_networks(copy)[0].class_name == "thing"
    assert sorted(path.name for path in copy.iterdir()) == ["bundle.json", "generator.safetensors"]
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="missing weights"):
        _write(tmp_path / "b", networks={"generator": NetworkState(CONFIG, {})})
    with pytest.raises(BundleError, match="class_name"):
        _write(tmp_path / "b", class_name="Big Name")
    with pytest.raises(BundleError, match="generator"):
        _write(tmp_path / "b", networks={})
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        _write(tmp_path / "file" / "b")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_settings_that_came_later_are_written_only_where_they_are_used(tmp_path: Path) -> None:
    first = {"resolution", "z_dim", "w_dim", "channel_base", "channel_max", "mapping_layers"}
    assert set(CONFIG.to_json()) == first | {"conv_clamp"}
    config = dataclasses.replace(CONFIG, architecture="resnet", block_channels=(4, 3, 2))
    generator = Generator(config)
    _write(tmp_path / "b", networks={"generator": NetworkState(config, generator.state_dict())})

    loaded = load_bundle(tmp_path / "b")

    assert loaded.bundle.generator_config == config
    assert loaded.bundle.generator_config.feature_channels == (4, 4, 3, 3, 2, 2)
    assert loaded.generator.synthesis(torch.zeros(1, 6, 4)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    "values",
    [{"architecture": "unet"}, {"block_channels": [4, 4]}, {"block_channels": [4, 4, 0]},
     {"label_size": -1}],
)  # fmt: skip
def test_impossible_generators_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(EngineSettingsError, match=next(iter(values))):
        GeneratorConfig.from_json({**CONFIG.to_json(), **values})


def test_groups_of_labels_are_written_read_and_stand_for_their_labels(tmp_path: Path) -> None:
    labels = [
        BundleLabel(place, name, (place, 0, 0)) for place, name in enumerate(("rest", "a", "b"))
    ]
    groups = {"all": ("both", "rest"), "both": ("b", "a")}
    _write(tmp_path / "plain", labels=labels)
    _write(tmp_path / "grouped", labels=labels, groups=groups)

    plain, grouped = (load_bundle(tmp_path / name).bundle for name in ("plain", "grouped"))

    assert grouped.groups == groups
    assert grouped.label_indices(["all", 1]) == [2, 1, 0, 1]
    assert "groups" not in plain.to_json()


@pytest.mark.parametrize(
    "groups",
    [{"a": ()}, {"a": ("beak",)}, {"a": ("b",), "b": ("a",)}, {"background": ("background",)}],
)
def test_groups_that_stand_for_no_labels_are_refused(
    tmp_path: Path, groups: dict[str, tuple[str, ...]]
) -> None:
    with pytest.raises(BundleError, match="groups: expected new names"):
        _write(tmp_path / "b", groups=groups)


def test_groups_of_groups_take_the_time_of_their_members(tmp_path: Path) -> None:
    labels = [BundleLabel(0, "a", (0, 0, 0)), BundleLabel(1, "b", (1, 1, 1))]
    groups: dict[str, tuple[str, ...]] = {"g0": ("b", "a")}
    groups |= {f"g{n}": (f"g{n - 1}", f"g{n - 1}") for n in range(1, 3000)}
    groups = dict(reversed(groups.items()))

    _write(tmp_path / "b", labels=labels, groups=groups)

    bundle = read_networks(tmp_path / "b")[0]
    assert bundle.label_indices(["g2999", 1]) == [1, 0, 1]


def test_a_ring_of_groups_below_a_group_is_refused(tmp_path: Path) -> None:
    groups = {"top": ("background", "g0"), "g0": ("g1",), "g1": ("g0",)}

    with pytest.raises(BundleError, match=r"groups: expected .* got \['g0', 'g1', 'top'\]"):
        _write(tmp_path / "b", groups=groups)
