"""`model import`: from a file to a class of the library."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import editvec.cli
from editvec.engine.bundle.bundle import load_bundle
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import NewVector
from editvec.registry.library.library import Library
from tests.support.foreign_files import (
    Trap,
    random_variables,
    tensorflow_networks,
    write_pickle,
    write_rosinality,
)
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


def rosinality(path: Path, **changes: Any) -> Path:
    tensors = load_file(FIXTURES / "rosinality_r32.weights.safetensors")
    state = {key.removeprefix("g_ema."): value for key, value in tensors.items() if "." in key}
    return write_rosinality(path, state, latent_avg=tensors["latent_avg"], **changes)


def fingerprint(home: Path) -> dict[str, tuple[int, int]]:
    """Every file of a home folder, with its size and time."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in home.rglob("*")
        if path.is_file()
    }


# ----------------------------------------------------------------------------------------------
# Generators


def test_a_checkpoint_becomes_a_class_that_samples(
    run: Run, opened: Library, tmp_path: Path
) -> None:
    path = rosinality(tmp_path / "face.pt")

    status, told, _ = run("model", "import", path, "--class", "face", "--scheme", "celebamask-hq")

    assert status == 0
    assert told.startswith("face@1\n")
    model = opened.get_class("face")
    assert (model.resolution, model.num_ws, model.w_dim) == (32, 8, 32)
    assert model.label_names[3] == "eye_g"
    assert model.groups["lips"] == ("u_lip", "l_lip")
    folder = opened.materialise_bundle(model)
    loaded = load_bundle(folder)
    expected = load_file(FIXTURES / "rosinality_r32.expected.safetensors")
    images = loaded.generator.synthesis(expected["ws"])
    torch.testing.assert_close(images, expected["img_fixed_noise"], atol=1e-4, rtol=0)
    assert loaded.segmentation is None
    assert loaded.encoder is None
    assert loaded.perceptual is not None
    assert loaded.perceptual.name == "perceptual/avatars"
    assert loaded.bundle.built["origin"] == "rosinality .pt"
    status, told, _ = run("engine", "sample", folder, tmp_path / "samples", "--count", 2)
    assert status == 0
    assert len(list((tmp_path / "samples").iterdir())) == 2


def test_the_same_file_twice_is_one_version(run: Run, tmp_path: Path) -> None:
    path = rosinality(tmp_path / "face.pt")

    for _ in range(2):
        status, told, _ = run("model", "import", path, "--class", "face", "--json")
        assert status == 0
        assert json.loads(told)["address"] == "face@1"


def test_a_label_and_a_rectangle_are_options(run: Run, opened: Library, tmp_path: Path) -> None:
    variables = random_variables(16, "resnet", labels=3)
    networks = tensorflow_networks(variables, "", architecture="resnet")
    path = write_pickle(tmp_path / "cat.pkl", networks)
    words = ("model", "import", path, "--class", "cat", "--json")

    refused, _, error = run(*words)
    status, told, notes = run(*words, "--label-class", 2, "--valid-rectangle", "2,0,14,16")

    assert refused == 1
    assert "label_class: expected a label from 0 to 2" in error
    assert status == 0
    assert json.loads(told)["origin"] == "NVIDIA TensorFlow pickle"
    assert "w_avg, of the label, was estimated" in notes
    model = opened.get_class("cat")
    assert model.valid_rectangle == (2, 0, 14, 16)
    bundle = load_bundle(opened.materialise_bundle(model)).bundle
    assert bundle.generator_config.architecture == "resnet"
    assert bundle.built["label_classes"] == [2]
    assert run(*words, "--label-class", 2, "--valid-rectangle", "2,0,99,16")[0] == 1
    assert run(*words, "--label-class", 2, "--valid-rectangle", "here")[0] == 2


def test_the_rectangle_of_a_scheme_is_scaled(run: Run, opened: Library, tmp_path: Path) -> None:
    path = rosinality(tmp_path / "car.pt")

    run("model", "import", path, "--class", "car", "--scheme", "editgan-car")

    assert opened.get_class("car").valid_rectangle == (4, 0, 28, 32)


def test_a_bundle_of_ours_comes_under_another_name(
    run: Run, opened: Library, tiny_bundle: Path
) -> None:
    status, told, error = run("model", "import", tiny_bundle, "--class", "other", "--json")

    assert status == 0
    assert set(json.loads(told)["networks"]) >= {"generator", "segmentation", "encoder"}
    assert error == ""
    model = opened.get_class("other")
    original = load_bundle(tiny_bundle).bundle
    assert model.generator_digest == original.generator_digest
    assert model.label_names == tuple(label.name for label in original.labels)


def test_an_imported_generator_embeds_and_edits_a_picture(
    run: Run, opened: Library, tmp_path: Path
) -> None:
    run("model", "import", rosinality(tmp_path / "face.pt"), "--class", "face")
    folder = opened.materialise_bundle(opened.get_class("face"))
    run("engine", "sample", folder, tmp_path / "samples", "--count", 1)
    np.save(tmp_path / "delta.npy", np.ones((8, 32), dtype=np.float32))
    picture, edited = tmp_path / "samples" / "00000.png", tmp_path / "edited.png"
    words = ("engine", "apply", folder, tmp_path / "delta.npy", picture, edited, "--embed-steps")

    refused, _, error = run(*words, 0)
    status, told, _ = run(*words, 5)

    assert refused == 1
    assert "the class has no encoder; `editvec train encoder` makes one" in error
    assert status == 0
    assert edited.exists()
    assert "embedded with" in told


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("trap.pt", "trap", "names exec"),
        ("short.pt", "short", "the file is damaged"),
        ("text.pkl", b"hello", "expected a checkpoint of StyleGAN2"),
        ("empty.pkl", b"", "an empty file"),
        ("nothing.pkl", None, "No such file"),
        ("https://example.org/car.pkl", None, "expected a file on this machine"),
        ("d.pt", {"d": {"final_conv.weight": torch.zeros(1)}}, "only a discriminator"),
    ],
)
def test_what_is_refused_leaves_the_library_as_it_was(
    name: str, content: Any, message: str, run: Run, tmp_path: Path
) -> None:
    run("model", "list")  # the home has all its files
    path = tmp_path / Path(name).name
    if content == "trap":
        rosinality(path, args=Trap(tmp_path / "ran"))
    elif content == "short":
        path.write_bytes(rosinality(path).read_bytes()[:-100])
    elif isinstance(content, dict):
        torch.save(content, path)
    elif content is not None:
        path.write_bytes(content)
    before = fingerprint(tmp_path / "home")

    source = name if "://" in name else path
    status, told, error = run("model", "import", source, "--class", "car")

    assert status == 1
    assert told == ""
    assert error.startswith("editvec: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert fingerprint(tmp_path / "home") == before
    assert not (tmp_path / "ran").exists()


def test_commands_that_need_masks_say_what_makes_them_possible(
    run: Run, opened: Library, tmp_path: Path
) -> None:
    run("model", "import", rosinality(tmp_path / "car.pt"), "--class", "car")
    opened.add_vector(
        NewVector(class_name="car", name="thing", roi_labels=("background",)),
        np.ones((8, 32), dtype=np.float32),
    )
    picture = tmp_path / "in" / "a.png"
    picture.parent.mkdir()
    from PIL import Image

    Image.new("RGB", (32, 32)).save(picture)
    Image.new("L", (32, 32)).save(tmp_path / "mask.png")

    for words in (
        ("batch", "run", picture.parent, tmp_path / "out", "--edit", "car/thing=1"),
        ("batch", "generate", tmp_path / "out", "--class", "car", "--count", 2, "--write", "coco"),
        ("learn", "car/new", "--image", picture, "--mask-after", tmp_path / "mask.png"),
    ):
        status, _, error = run(*words)
        assert status == 1, words
        last = error.splitlines()[-1]
        assert "no segmentation branch" in last
        assert "`editvec train segmentation --class car PAIRS` makes one" in last
    assert run("batch", "list")[1].count("planned") <= 1  # nothing was planned
