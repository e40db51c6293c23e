"""`model import-members`: classifiers of other programs become a segmentation branch."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import editvec.cli
from editvec.batch.classes.storing import store_networks
from editvec.engine.bundle.bundle import NetworkState, load_bundle, read_networks
from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.members import member_files, read_members
from editvec.engine.networks.config import SegmentationConfig
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import NewVector
from editvec.registry.library.library import Library
from tests.support.foreign_files import Trap, random_variables, tensorflow_networks, write_pickle
from tests.support.places import FIXTURES

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, empty_home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line on a library of the test's own: status, stdout, stderr."""
    home = tmp_path / "home"
    shutil.copytree(empty_home, home)

    def invoke(*words: object) -> tuple[int, str, str]:
        status = editvec.cli.main(["--home", str(home), *map(str, words)])
        told = capsys.readouterr()
        return status, told.out, told.err

    return invoke


@pytest.fixture
def opened(run: Run, tmp_path: Path) -> Iterator[Library]:
    """The library that `run` works on."""
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        yield library


def members(folder: Path) -> Path:
    """The fixture's classifiers in files as DatasetGAN's program writes them."""
    tensors = load_file(FIXTURES / "datasetgan_members.weights.safetensors")
    folder.mkdir()
    for member in range(3):
        state = {
            key.partition(".")[2]: value
            for key, value in tensors.items()
            if key.startswith(f"{member}.")
        }
        torch.save({"model_state_dict": state}, folder / f"model_{member}.pth")
    return folder


def test_members_give_the_labels_of_the_reference(tmp_path: Path) -> None:
    expected = load_file(FIXTURES / "datasetgan_members.expected.safetensors")
    features = [expected[f"feature_{index}"] for index in range(8)]

    imported = read_members(member_files([members(tmp_path / "classifiers")]))

    assert (imported.members, imported.inputs, imported.num_labels) == (3, 208, 7)
    assert imported.hidden == (128, 32)
    config = SegmentationConfig(
        num_labels=7,
        feature_channels=tuple(feature.shape[1] for feature in features),
        members=3,
        constant_input=False,
    )
    branch = SegmentationBranch.from_members(imported.state, config)
    with torch.inference_mode():
        logits = branch(features)
    assert torch.equal(logits.argmax(dim=1), expected["labels"].long())
    torch.testing.assert_close(logits, expected["mean_logits"], atol=1e-4, rtol=0)


def test_a_class_gets_a_segmentation_branch_and_keeps_its_vectors(
    run: Run, opened: Library, tmp_path: Path
) -> None:
    # channels as the fixture's classifiers were trained on
    widths = {4: 32, 8: 32, 16: 24, 32: 16}
    variables = random_variables(32, channels=widths.__getitem__)
    network = write_pickle(tmp_path / "car.pkl", tensorflow_networks(variables, ""))
    run("model", "import", network, "--class", "car")
    opened.add_vector(
        NewVector(class_name="car", name="thing", roi_labels=("background",)),
        np.ones((8, 8), dtype=np.float32),
    )
    scheme = tmp_path / "scheme.yaml"
    scheme.write_text("parts: [background, a, b, c, d, e, f]\n")
    folder = members(tmp_path / "classifiers")
    words = ("model", "import-members", folder, "--class", "car")

    refused, _, error = run(*words)
    status, told, _ = run(*words, "--scheme", scheme, "--json")

    assert refused == 1
    assert "expected one of 7 labels" in error
    assert status == 0
    assert json.loads(told)["address"] == "car@2"
    first, second = opened.get_class("car@1"), opened.get_class("car@2")
    assert first.generator_digest == second.generator_digest
    assert second.label_names == ("background", "a", "b", "c", "d", "e", "f")
    loaded = load_bundle(opened.materialise_bundle(second))
    assert loaded.segmentation is not None
    ws = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = loaded.generator.synthesis.with_features(ws).features
        logits = loaded.segmentation.member_logits(features)
    assert logits.shape == (3, 2, 7, 32, 32)
    torch.testing.assert_close(
        logits[1, 0], _reference_member(folder / "model_1.pth", features)[0], atol=1e-3, rtol=1e-3
    )
    status, _, _ = run("batch", "run", "--help")
    out = tmp_path / "out"
    words = ("batch", "generate", out, "--class", "car", "--count", 2, "--edit", "car/thing=1")
    assert run(*words)[0] == 0
    assert len(list((out / "masks").rglob("*.png"))) >= 2


def _reference_member(path: Path, features: list[Tensor]) -> Tensor:
    """One classifier after the paper: every map up-sampled, concatenated, pixel by pixel."""
    state = torch.load(path, weights_only=True)["model_state_dict"]
    state = {key.removeprefix("module.layers."): value.double() for key, value in state.items()}
    maps = [
        torch.nn.functional.interpolate(feature.double(), size=(32, 32), mode="bilinear")
        for feature in features
    ]
    x = torch.cat(maps, dim=1).movedim(1, -1)
    for linear, norm in (("0", "2"), ("3", "5")):
        x = (x @ state[f"{linear}.weight"].t() + state[f"{linear}.bias"]).clamp_min(0)
        deviation = (state[f"{norm}.running_var"] + 1e-5).sqrt()
        x = (x - state[f"{norm}.running_mean"]) / deviation
        x = x * state[f"{norm}.weight"] + state[f"{norm}.bias"]
    return (x @ state["6.weight"].t() + state["6.bias"]).movedim(-1, 1).float()


def _scaled_members(tiny_bundle: Path, folder: Path) -> list[Path]:
    """The members of the class `tiny`, with weights half as large again."""
    _, networks = read_networks(tiny_bundle)
    for member in range(2):
        prefix = f"{member}."
        own = {
            f"module.{key.removeprefix(prefix)}": value * 1.5
            for key, value in networks["segmentation"].state.items()
            if key.startswith(prefix)
        }
        torch.save({"model_state_dict": own}, folder / f"model_{member}.pth")
    return [folder / f"model_{member}.pth" for member in range(2)]


def test_members_keep_the_other_networks(
    run: Run, opened: Library, tiny_bundle: Path, tmp_path: Path
) -> None:
    run("model", "add", tiny_bundle)
    bundle, _ = read_networks(tiny_bundle)
    files = _scaled_members(tiny_bundle, tmp_path)

    status, _, error = run("model", "import-members", *files, "--class", "tiny")
    again, told, _ = run("model", "import-members", *files, "--class", "tiny", "--json")

    assert status == again == 0, error
    assert json.loads(told)["address"] == "tiny@2"
    loaded = load_bundle(opened.materialise_bundle(opened.get_class("tiny@2")))
    assert loaded.encoder is not None
    assert loaded.perceptual is not None
    assert loaded.bundle.labels == bundle.labels
    assert loaded.bundle.bundle_digest != bundle.bundle_digest
    assert loaded.bundle.built["parent"] == bundle.bundle_digest


def test_members_keep_what_was_trained_meanwhile(
    run: Run, opened: Library, tiny_bundle: Path, tmp_path: Path
) -> None:
    """The version that is named is not the latest one."""
    run("model", "add", tiny_bundle)
    _, networks = read_networks(tiny_bundle)
    config, state = networks["encoder"]
    trained = {name: tensor + 1 for name, tensor in state.items()}
    store_networks(
        opened,
        tmp_path / "training",
        opened.get_class("tiny"),
        networks={"encoder": NetworkState(config, trained)},
        built={"encoder": {"by": "a training"}},
    )
    files = _scaled_members(tiny_bundle, tmp_path)

    status, told, error = run("model", "import-members", *files, "--class", "tiny@1", "--json")

    assert status == 0, error
    assert json.loads(told)["address"] == "tiny@3"
    bundle, kept = read_networks(opened.materialise_bundle(opened.get_class("tiny@3")))
    assert all(torch.equal(kept["encoder"].state[name], trained[name]) for name in trained)
    assert bundle.built["encoder"] == {"by": "a training"}
    assert bundle.built["segmentation"]["by"] == "editvec model import-members"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("module.layers.3.bias"), "missing weights: layers.3.bias"),
        (lambda s: s.update({"module.layers.9.bias": torch.zeros(1)}), "pixel classifier"),
        (lambda s: s.update({"module.layers.0.bias": torch.zeros(3)}), "0.bias of shape"),
        (lambda s: s.update({"module.layers.0.weight": torch.zeros(128)}), "no matrix"),
        (lambda s: s.update({"module.layers.6.bias": torch.full([7], torch.inf)}), "finite"),
        (lambda s: s.update({"module.layers.5.running_var": torch.zeros(31)}), "of shape"),
        (
            lambda s: s.update({"module.layers.0.weight": torch.zeros(128, 100)}),
            "as in model_0.pth",
        ),
        (lambda s: s.update({"module.layers.0.bias": Trap(Path("ran"))}), "names exec"),
    ],
)
def test_members_that_do_not_fit_are_named(
    change: Any, message: str, run: Run, tmp_path: Path
) -> None:
    folder = members(tmp_path / "classifiers")
    path = folder / "model_1.pth"
    state = torch.load(path, weights_only=True)["model_state_dict"]
    change(state)
    torch.save({"model_state_dict": state}, path)

    status, _, error = run("model", "import-members", folder, "--class", "car")

    assert status == 1
    assert message in error
    assert error.count("\n") == 1


def test_members_of_another_generator_are_refused(
    run: Run, opened: Library, tiny_bundle: Path, tmp_path: Path
) -> None:
    run("model", "add", tiny_bundle)
    scheme = tmp_path / "scheme.yaml"
    scheme.write_text("parts: [background, a, b, c, d, e, f]\n")
    folder = members(tmp_path / "classifiers")

    status, _, error = run("model", "import-members", folder, "--class", "tiny", "--scheme", scheme)

    assert status == 1
    assert "feature channels of the generator, got some of 208" in error
    assert [model.address for model in opened.classes()] == ["tiny@1"]


def test_members_of_a_folder_come_by_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 0, 1):
        (tmp_path / f"model_{number}.pth").touch()

    names = [path.name for path in member_files([tmp_path])]

    assert names == ["model_0.pth", "model_1.pth", "model_2.pth", "model_10.pth"]


def _touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


def test_snapshots_of_a_training_are_no_members(tmp_path: Path) -> None:
    """EditGAN's program leaves both in one folder."""
    steps = (0, 5000, 10000)
    snapshots = [f"model_iter{step}_number_{member}.pth" for step in steps for member in range(3)]
    _touched(tmp_path, *snapshots, "model_0.pth", "model_1.pth", "model_2.pth")

    names = [path.name for path in member_files([tmp_path])]

    assert names == ["model_0.pth", "model_1.pth", "model_2.pth"]


def test_snapshots_of_one_step_are_an_ensemble(tmp_path: Path) -> None:
    names = [f"model_iter5000_number_{member}.pth" for member in range(11)]

    found = member_files([_touched(tmp_path, *names)])

    assert [path.name for path in found] == names


@pytest.mark.parametrize(
    "names",
    [
        ("model_iter5000_number_0.pth", "model_iter10000_number_0.pth"),
        ("model_iter5000_number_0.pth", "model_iter10000_number_1.pth"),
        ("model_epoch1.pth", "model_epoch2.pth"),
        ("model_0.pth", "model_0_best.pth"),
        ("model_0.pth", "best_model_0.pth", "model_1.pth"),
        ("model_0.pth", "model_0.pt"),
        ("model_0.pth", "model_00.pth"),
        ("last.pth", "best.pth"),
        ("run1_0.pth", "run2_0.pth", "run1_1.pth", "run2_1.pth"),
    ],
)
def test_files_that_may_be_states_of_one_member_are_left_to_choose(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(ForeignFileError, match="two states of one member: give the members' files"):
        member_files([_touched(tmp_path, *names)])

    given = [tmp_path / name for name in names]
    assert member_files(given) == given


def test_a_file_given_twice_is_refused(tmp_path: Path) -> None:
    folder = _touched(tmp_path, "model_0.pth", "model_1.pth")

    with pytest.raises(ForeignFileError, match=r"every file once, got .*model_1\.pth twice"):
        member_files([folder, folder / "model_1.pth"])


def test_the_members_that_were_taken_are_told(
    run: Run, opened: Library, tiny_bundle: Path, tmp_path: Path
) -> None:
    run("model", "add", tiny_bundle)
    folder = tmp_path / "members"
    folder.mkdir()
    files = _scaled_members(tiny_bundle, folder)
    snapshot = torch.load(files[0], weights_only=True)
    torch.save(snapshot, folder / "model_iter5000_number_0.pth")

    status, told, _ = run("model", "import-members", folder, "--class", "tiny")

    assert status == 0
    assert "members    model_0.pth, model_1.pth\n" in told
    loaded = load_bundle(opened.materialise_bundle(opened.get_class("tiny@2")))
    assert loaded.segmentation is not None
    assert loaded.segmentation.config.members == 2
