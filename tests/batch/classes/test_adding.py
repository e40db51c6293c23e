"""`model add` takes bundles whose networks can be built from their weights, and no others."""

import dataclasses
import hashlib
import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

import editvec.cli
from editvec.batch.classes.adding import add_bundle, install_shipped
from editvec.engine.bundle.bundle import generator_digest
from editvec.engine.bundle.description import CONFIGS
from editvec.engine.errors import EngineError
from editvec.registry.bundles.manifest import bundle_digest_of
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import RegistryError
from editvec.registry.library.library import Library
from editvec.registry.sharing.bundle_archives import export_bundle
from tests.support.engine_fixtures import write_tiny_bundle
from tests.support.registry_fixtures import contents

NETWORKS = ("generator", "segmentation", "encoder", "perceptual", "identity", "classifier")
WRONG = (0, -1, 10**9, 1e9, float("nan"), float("inf"), "x", True, None, [], {})
SECONDS = 1.0
BYTES = 64 << 20

Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, empty_home: Path) -> Iterator[Library]:
    """A library in which nothing may ever arrive."""
    home = tmp_path_factory.mktemp("library") / "home"
    shutil.copytree(empty_home, home)
    with Library.open(RegistryConfig.for_home(home)) as library:
        yield library


@pytest.fixture
def library(opened: Library) -> Iterator[Library]:
    """The same, in which nothing has arrived after a test."""
    before = contents(opened)
    yield opened
    assert contents(opened) == before


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def require_refusal(library: Library, folder: Path, *, because: object = None) -> str:
    """Add the bundle, which must fail in one line, soon and small; `because` is told if not."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with pytest.raises((EngineError, RegistryError)) as caught:
        add_bundle(library, folder)
    assert time.process_time() - started < SECONDS, because
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < BYTES >> 10, because
    message = str(caught.value)
    assert 0 < len(message) < 1500, because
    assert "\n" not in message, because
    return message


def write_description(folder: Path, values: dict[str, Any]) -> None:
    """Write bundle.json with the digest that its content has."""
    values.pop("bundle_digest", None)
    values["bundle_digest"] = bundle_digest_of(values)
    (folder / "bundle.json").write_text(json.dumps(values))


def write_weights(folder: Path, network: str, content: bytes) -> None:
    """Write a network's file, and the digests that it has."""
    name = f"{network}.safetensors"
    (folder / name).write_bytes(content)
    values = json.loads((folder / "bundle.json").read_text())
    values["files"][name] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    if network == "generator":
        state = safetensors.torch.load(content)
        if not any(tensor.dtype == torch.bfloat16 for tensor in state.values()):
            values["generator_digest"] = generator_digest(state)
    write_description(folder, values)


def places(values: object, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Everything in a JSON value, but what is free."""
    if at:
        yield at, values
    if isinstance(values, dict):
        for key, value in values.items():
            if (*at, key) not in {("built",), ("bundle_digest",)}:
                yield from places(value, (*at, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from places(value, (*at, index))


def replaced(values: dict[str, Any], at: Place, value: object) -> dict[str, Any]:
    """A copy of a JSON object with another value at a place."""
    copy: Any = json.loads(json.dumps(values))
    inner = copy
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = value
    return copy  # type: ignore[no-any-return]


def is_right(at: Place, old: object, new: object) -> bool:
    """Whether a bundle may have this value there: colours and free texts."""
    if type(old) is type(new) and old == new:
        return True
    if "color" in at:
        return type(old) is int and type(new) is int and 0 <= new <= 255
    free = {"description", "license", "name", "trunk", "class_name"}
    return new == "x" and (at[-1] in free or at[-2:-1] == ("outputs",))


def described(folder: Path) -> dict[str, Any]:
    """What bundle.json says."""
    values: dict[str, Any] = json.loads((folder / "bundle.json").read_text())
    return values


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("section", ["top", *NETWORKS])
def test_no_value_of_bundle_json_is_believed(
    library: Library, folder: Path, section: str, value: object
) -> None:
    values = described(folder)

    count = 0
    for at, old in places(values):
        of_network = at[1] if at[0] == "networks" and len(at) > 1 else "top"
        if of_network != section or is_right(at, old, value):
            continue
        if at[0] == "labels" and at[1:2] > (1,):
            continue  # two labels stand for all
        write_description(folder, replaced(values, at, value))
        require_refusal(library, folder, because=(at, value))
        count += 1
    assert count >= 4


@pytest.mark.parametrize("network", NETWORKS)
def test_no_setting_that_a_bundle_may_leave_out_is_believed(
    library: Library, folder: Path, network: str
) -> None:
    values = described(folder)
    said = values["networks"][network]["config"]
    left_out = {field.name for field in dataclasses.fields(CONFIGS[network])} - set(said)  # type: ignore[arg-type]

    for name in (*left_out, "surprise"):
        for value in (*WRONG, [10**9] * 4, "orig"):
            write_description(
                folder, replaced(values, ("networks", network, "config", name), value)
            )
            require_refusal(library, folder, because=(name, value))


def test_nothing_of_bundle_json_can_be_left_out(library: Library, folder: Path) -> None:
    values = described(folder)

    for at, _ in places(values):
        copy = replaced(values, at, None)
        inner: Any = copy
        for step in at[:-1]:
            inner = inner[step]
        del inner[at[-1]]
        write_description(folder, copy)
        require_refusal(library, folder, because=at)


Change = Callable[[dict[str, Tensor], str], None]


def _remove(state: dict[str, Tensor], name: str) -> None:
    del state[name]


def _rename(state: dict[str, Tensor], name: str) -> None:
    state[f"{name}s"] = state.pop(name)


def _set(change: Callable[[Tensor], Tensor]) -> Change:
    def apply(state: dict[str, Tensor], name: str) -> None:
        state[name] = change(state[name]).contiguous()

    return apply


def _holed(value: float) -> Change:
    def apply(state: dict[str, Tensor], name: str) -> None:
        if state[name].is_floating_point():
            state[name] = state[name].clone()
            state[name].view(-1)[-1] = value

    return apply


CHANGES: dict[str, Change] = {
    "removed": _remove,
    "renamed": _rename,
    "doubled": _set(lambda one: torch.cat([one.view(-1), one.view(-1)])),
    "without numbers": _set(lambda one: one.view(-1)[:0]),
    "integers": _set(lambda one: one.long() if one.is_floating_point() else one.float()),
    "doubles": _set(Tensor.double),
    "bytes": _set(lambda one: one.to(torch.uint8)),
    "NaN": _holed(float("nan")),
    "infinity": _holed(float("-inf")),
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("network", NETWORKS)
def test_no_tensor_can_be_another_one(
    library: Library, folder: Path, network: str, kind: str
) -> None:
    content = (folder / f"{network}.safetensors").read_bytes()
    original = safetensors.torch.load(content)

    # the file is refused for infinity as for NaN: one tensor stands for all
    for name in list(original)[-1 if kind == "infinity" else 0 :]:
        state = dict(original)
        CHANGES[kind](state, name)
        if state.keys() == original.keys() and state[name] is original[name]:
            continue  # whole numbers are finite
        write_weights(folder, network, safetensors.torch.save(state))
        told = require_refusal(library, folder, because=(name, kind))
        assert name in told
        assert network in told


def test_a_generator_in_bfloat16_has_no_digest(library: Library, folder: Path) -> None:
    content = (folder / "generator.safetensors").read_bytes()
    state = safetensors.torch.load(content)
    state["mapping.w_avg"] = state["mapping.w_avg"].bfloat16()
    write_weights(folder, "generator", safetensors.torch.save(state))

    assert "mapping.w_avg is bfloat16" in require_refusal(library, folder)


@pytest.mark.parametrize("network", ["segmentation", "encoder", "identity", "classifier"])
def test_variances_below_zero_are_named(library: Library, folder: Path, network: str) -> None:
    state = safetensors.torch.load((folder / f"{network}.safetensors").read_bytes())
    name = next(key for key in state if key.endswith("running_var"))
    state[name][-1] = -1e-3
    write_weights(folder, network, safetensors.torch.save(state))

    assert f"variances of at least 0, {name}" in require_refusal(library, folder)


def test_a_member_cannot_have_a_weight_twice(library: Library, folder: Path) -> None:
    state = safetensors.torch.load((folder / "segmentation.safetensors").read_bytes())
    state["0.module.layers.0.weight"] = state["0.layers.0.weight"] + 1
    write_weights(folder, "segmentation", safetensors.torch.save(state))

    assert "0.layers.0.weight twice" in require_refusal(library, folder)


def test_halves_of_networks_other_than_the_generator_are_taken_and_compute(
    library: Library, folder: Path, tmp_path: Path, empty_home: Path
) -> None:
    from editvec.engine.bundle.bundle import load_bundle

    for network in NETWORKS[1:]:
        state = safetensors.torch.load((folder / f"{network}.safetensors").read_bytes())
        halves = {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}
        write_weights(folder, network, safetensors.torch.save(halves))
    shutil.copytree(empty_home, tmp_path / "home")
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as mine:
        loaded = load_bundle(mine.materialise_bundle(add_bundle(mine, folder)))

    output = loaded.generator.synthesis.with_features(torch.zeros(1, 8, 8))
    assert loaded.segmentation is not None
    assert loaded.encoder is not None
    assert loaded.segmentation(output.features).dtype == torch.float32
    assert loaded.encoder(output.images).dtype == torch.float32


@pytest.mark.parametrize("content", [b"", b"\x80\x04}.", b"{}", b"\xff" * 8, b"\0" * 64])
@pytest.mark.parametrize("network", NETWORKS)
def test_files_that_are_no_weights_are_named(
    library: Library, folder: Path, network: str, content: bytes
) -> None:
    values = described(folder)
    name = f"{network}.safetensors"
    (folder / name).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    values["files"][name] = entry
    write_description(folder, values)

    assert name in require_refusal(library, folder)


def test_a_header_that_promises_more_than_memory_is_refused(library: Library, folder: Path) -> None:
    header = {"w": {"dtype": "F32", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 4 << 60]}}
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text
    values = described(folder)
    (folder / "encoder.safetensors").write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    values["files"]["encoder.safetensors"] = entry
    write_description(folder, values)

    assert "encoder.safetensors" in require_refusal(library, folder)


def test_the_bundle_itself_is_taken_by_the_command_from_folder_and_tar(
    tmp_path: Path, empty_home: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        shutil.copytree(empty_home, home)

    assert editvec.cli.main(["--home", str(homes[0]), "model", "add", str(tiny_bundle)]) == 0
    with Library.open(RegistryConfig.for_home(homes[0])) as library:
        export_bundle(library, library.get_class(), tmp_path / "tiny.tar")
    tar = str(tmp_path / "tiny.tar")
    assert editvec.cli.main(["--home", str(homes[1]), "model", "add", tar]) == 0
    assert capsys.readouterr().out.split() == ["tiny@1", "tiny@1"]


@pytest.mark.parametrize("command", [("add",), ("import", "--class", "tiny")], ids=" ".join)
def test_the_commands_refuse_in_one_line(
    folder: Path,
    tmp_path: Path,
    empty_home: Path,
    command: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(empty_home, tmp_path / "home")
    state = safetensors.torch.load((folder / "encoder.safetensors").read_bytes())
    del state["stem.weight"]
    write_weights(folder, "encoder", safetensors.torch.save(state))

    words = ["--home", str(tmp_path / "home"), "model", *command, str(folder)]
    assert editvec.cli.main(words) == 1

    told = capsys.readouterr().err
    assert told == "editvec: error: encoder: missing weights: stem.weight\n"
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        assert library.classes() == []


def test_the_shipped_bundle_is_checked_where_it_is_installed(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from editvec.avatars import default

    folder = write_tiny_bundle(tmp_path / "shipped")
    state = safetensors.torch.load((folder / "generator.safetensors").read_bytes())
    del state["mapping.w_avg"]
    write_weights(folder, "generator", safetensors.torch.save(state))
    monkeypatch.setattr(default, "BUNDLE_FOLDER", folder)

    with pytest.raises(EngineError, match=r"missing weights: mapping\.w_avg"):
        install_shipped(library, "avatars")
    assert library.classes() == []
