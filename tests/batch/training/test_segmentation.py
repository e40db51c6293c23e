"""`editvec train segmentation`: from annotated images to a new version of the class."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import editvec.batch.training.segmentation_features
import editvec.cli
import editvec.engine.training.segmentation
from editvec.batch.classes.storing import store_networks
from editvec.batch.errors import PlanError, SettingsError
from editvec.batch.recipes.settings import EmbeddingMethod
from editvec.batch.training.segmentation import TrainedSegmentation, train_segmentation
from editvec.engine.bundle.bundle import NetworkState, load_bundle, read_networks, write_bundle
from editvec.engine.bundle.description import BundleLabel
from editvec.engine.editor import Editor
from editvec.engine.errors import CheckpointError, OutOfMemoryError
from editvec.engine.images.images import read_image, to_pixels
from editvec.engine.training.loop import TrainingProgress
from editvec.engine.training.segmentation import SegmentationTrainee
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import MaskError
from editvec.registry.labels.files import parse_scheme
from editvec.registry.library.library import Library
from tests.support.killed_segmentations import CALIBRATION_STEPS, STEPS, request
from tests.support.places import ROOT

COUNT = 6


@pytest.fixture(scope="module")
def pairs(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of the generator, annotated by its own branch."""
    folder = tmp_path_factory.mktemp("pairs")
    editor = Editor.open(tiny_bundle)
    made = editor.synthesize_with_mask(editor.sample(COUNT, 3, 0.7))
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for row, (pixels, mask) in enumerate(zip(to_pixels(made.images), made.mask, strict=True)):
        Image.fromarray(pixels).save(folder / "images" / f"{row}.png")
        Image.fromarray(mask.numpy().astype(np.uint8)).save(folder / "masks" / f"{row}.png")
    return folder


@pytest.fixture(autouse=True, scope="module")
def _quick_statistics() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(editvec.engine.training.segmentation, "CALIBRATION_STEPS", CALIBRATION_STEPS)
        yield


@pytest.fixture(scope="module")
def whole(
    tiny_home: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainedSegmentation:
    """A training that nobody has disturbed."""
    home = tmp_path_factory.mktemp("whole") / "home"
    shutil.copytree(tiny_home, home)
    return trained(home, pairs)


def trained(
    home: Path, pairs: Path, told: list[str] | None = None, **changes: Any
) -> TrainedSegmentation:
    config = RegistryConfig.for_home(home)
    with Library.open(config) as library:
        asked = dataclasses.replace(request(pairs), **changes)
        note = None if told is None else told.append
        return train_segmentation(library, asked, device="cpu", on_note=note)


def copied(pairs: Path, target: Path) -> Path:
    shutil.copytree(pairs, target)
    return target


def versions(home: Path) -> int:
    with Library.open(RegistryConfig.for_home(home)) as library:
        return len(library.classes())


# --- what comes of it ---


def test_new_version_finds_the_parts_and_keeps_generator_and_vectors(
    home: Path, pairs: Path, run_editvec: Callable[..., int], tmp_path: Path
) -> None:
    before = load_bundle(_bundle(home, "tiny"))

    result = trained(
        home,
        pairs,
        training={"num_steps": 60, "batch_size": 32},
        embed=EmbeddingMethod(num_steps=10),
    )

    after = load_bundle(result.folder / "bundle")
    assert after.bundle.built["parent"] == before.bundle.bundle_digest
    assert str(result.model.address) == "tiny@2"
    assert result.model.generator_digest == before.bundle.generator_digest
    assert after.bundle.labels == before.bundle.labels
    assert after.segmentation is not None
    assert after.segmentation.config.members == 2
    assert sorted(after.bundle.networks) == sorted(before.bundle.networks)
    assert result.quality.mean_iou is not None
    assert result.quality.mean_iou > 0.25  # one label for all pixels has 0.07
    assert after.bundle.built["segmentation"]["measured"]["mean_iou"] == result.quality.mean_iou
    # a vector that was learned before edits photographs with the masks of the new branch
    out = tmp_path / "out"
    words = ("batch", "run", pairs / "images", out, "--class", "tiny", "--edit", "smile=1")
    assert run_editvec(*words, "--device", "cpu") == 0
    assert len(list(out.rglob("masks/**/*.png"))) == COUNT


def test_an_encoder_that_was_trained_meanwhile_stays(
    home: Path, pairs: Path, tmp_path: Path
) -> None:
    config, asked = RegistryConfig.for_home(home), request(pairs)

    with Library.open(config) as library:
        model = library.get_class("tiny")
        _, networks = read_networks(library.materialise_bundle(model))
        encoder = networks["encoder"]
        tensors = {name: tensor + 1 for name, tensor in encoder.state.items()}
        other = NetworkState(encoder.config, tensors)

        def train_encoder(progress: TrainingProgress) -> None:
            given = {"networks": {"encoder": other}, "built": {"encoder": {"by": "another"}}}
            store_networks(library, tmp_path, model, **given)

        result = train_segmentation(library, asked, device="cpu", on_progress=train_encoder)

    after, kept = read_networks(result.folder / "bundle")
    assert str(result.model.address) == "tiny@3"
    assert all(torch.equal(kept["encoder"].state[name], tensors[name]) for name in tensors)
    assert after.built["encoder"] == {"by": "another"}


def test_parts_and_images_are_measured_and_drawn(whole: TrainedSegmentation, pairs: Path) -> None:
    quality = whole.quality
    masks = [np.asarray(Image.open(path)) for path in sorted((pairs / "masks").iterdir())]
    assert quality.folds == 2
    assert [part.name for part in quality.parts][:2] == ["background", "skin"]
    assert [part.pixels for part in quality.parts] == [
        sum(int((mask == index).sum()) for mask in masks) for index in range(6)
    ]
    assert [part.images for part in quality.parts] == [
        sum(bool((mask == index).any()) for mask in masks) for index in range(6)
    ]
    assert all(0 <= part.uncertainty <= 1 for part in quality.parts if part.uncertainty is not None)
    assert [one.name for one in quality.images] == [f"{row}.png" for row in range(COUNT)]
    assert all(one.psnr > 10 and one.mean_iou is not None for one in quality.images)
    assert quality.perceptual_name == "perceptual/tiny"
    assert whole.picture is not None
    drawn = read_image(whole.picture)
    assert drawn.shape[0] > 400
    assert drawn.shape[1] > 1200
    assert drawn.reshape(-1, 3).std() > 20


@pytest.mark.parametrize("step", [0, 2 * STEPS + 2])
def test_training_killed_by_the_system_ends_as_an_undisturbed_one(
    whole: TrainedSegmentation, home: Path, pairs: Path, step: int
) -> None:
    """While it embeds, and in the last round."""
    words = [sys.executable, "-m", "tests.support.killed_segmentations", home, pairs, str(step)]
    killed = subprocess.run(words, cwd=ROOT, check=False)

    resumed = trained(home, pairs)

    assert killed.returncode == -signal.SIGKILL
    assert resumed.quality == whole.quality
    own, other = (_members(result.folder) for result in (resumed, whole))
    assert all(torch.equal(own[name], other[name]) for name in own)


def test_finished_training_makes_room_for_one_on_more_images(
    home: Path, pairs: Path, tmp_path: Path
) -> None:
    fewer = copied(pairs, tmp_path / "fewer")
    (fewer / "images/5.png").unlink()
    first = trained(home, fewer)

    again, more = trained(home, fewer), trained(home, pairs)

    assert str(again.model.address) == str(first.model.address) == "tiny@2"
    assert str(more.model.address) == "tiny@3"
    assert more.trained_on == COUNT


def test_training_under_way_is_not_changed(
    home: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = SegmentationTrainee.step

    def stop(self: SegmentationTrainee, number: int) -> dict[str, Any]:
        if number == 3:
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(SegmentationTrainee, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        trained(home, pairs)
    monkeypatch.undo()

    with pytest.raises(CheckpointError, match="begun with seed 0, not 1"):
        trained(home, pairs, seed=1)


# --- other classes and schemes ---


def test_class_of_a_generator_alone_gets_the_parts_of_a_scheme(
    home: Path, pairs: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    """No encoder, no perceptual network, one label: what `train generator` leaves."""
    _, networks = read_networks(tiny_bundle)
    write_bundle(
        tmp_path / "bare",
        class_name="bare",
        description="",
        license="",
        labels=[BundleLabel(0, "background", (0, 0, 0))],
        networks={"generator": NetworkState(*networks["generator"])},
        built={},
    )
    with Library.open(RegistryConfig.for_home(home)) as library:
        library.add_bundle(tmp_path / "bare")
    scheme = parse_scheme(
        "parts: [background, skin, hair, eye, mouth, teeth]\n"
        "groups: {face: [eye, mouth]}\n"
        "rectangle: [0, 8, 64, 56]\n"
        "resolution: 64\n"
    )

    with pytest.raises(SettingsError, match="at least two parts, class bare@1 has one only"):
        trained(home, pairs, class_name="bare")
    result = trained(home, pairs, class_name="bare", scheme=scheme, folds=0)

    bundle = load_bundle(result.folder / "bundle").bundle
    assert [label.name for label in bundle.labels] == list(scheme.label_names)
    assert bundle.groups == {"face": ("eye", "mouth")}
    assert bundle.valid_rectangle == (0, 4, 32, 28)
    assert result.quality.mean_iou is None
    assert result.picture is None


# --- what does not belong ---


def test_image_of_something_else_is_told_and_left_out(
    home: Path, pairs: Path, tmp_path: Path
) -> None:
    mixed = copied(pairs, tmp_path / "mixed")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(mixed / "images/noise.png")
    Image.fromarray(noise[..., 0] * 0).save(mixed / "masks/noise.png")
    told: list[str] = []

    result = trained(home, mixed, told)
    kept = trained(home, mixed, keep_unlike=True)

    assert result.unlike == kept.unlike == ["noise.png"]
    assert (result.trained_on, kept.trained_on) == (COUNT, COUNT + 1)
    assert any(text.startswith("noise.png: ") and "left out" in text for text in told)
    for row in (3, 4, 5):
        (mixed / f"images/{row}.png").unlink()
    with pytest.raises(PlanError, match=r"at least 4 images of the class, 3 of 4 look like it"):
        trained(home, mixed)


def test_the_same_picture_twice_and_parts_that_nobody_shows_are_told(
    home: Path, pairs: Path, tmp_path: Path
) -> None:
    twice = copied(pairs, tmp_path / "twice")
    for name in ("images", "masks"):
        shutil.copy(twice / name / "0.png", twice / name / "again.png")
    for path in (twice / "masks").iterdir():
        mask = np.array(Image.open(path))
        mask[mask == 5] = 4
        Image.fromarray(mask).save(path)
    told: list[str] = []

    result = trained(home, twice, told)

    assert result.trained_on == COUNT
    assert told[:3] == [
        "left out again.png: the same picture as 0.png",
        "no image shows teeth: the branch will never find them",
        "6 annotated images are few: 16 to 32 are sensible",
    ]


def _two(folder: Path) -> None:
    for row in range(2, COUNT):
        (folder / f"images/{row}.png").unlink()


def _other_size(folder: Path) -> None:
    Image.new("L", (20, 32)).save(folder / "masks/1.png")


def _grey(folder: Path) -> None:
    Image.new("L", (32, 32)).save(folder / "images/1.png")


def _unknown_label(folder: Path) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[3, 7] = 9
    Image.fromarray(mask).save(folder / "masks/1.png")


def _torn(folder: Path) -> None:
    data = (folder / "images/1.png").read_bytes()
    (folder / "images/1.png").write_bytes(data[: len(data) // 2])


def _no_mask(folder: Path) -> None:
    (folder / "masks/1.png").unlink()


def _no_masks(folder: Path) -> None:
    shutil.rmtree(folder / "masks")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_two, "PAIRS: expected at least 4 annotated images (16 to 32 are sensible), "),
        (_other_size, "masks/1.png, of image 1.png: expected 32 x 32 pixels, got 20 x 32"),
        (_grey, "images/1.png: one channel (L)"),
        (_unknown_label, "9 at row 3, column 7"),
        (_torn, "images/1.png"),
        (_no_mask, "image 1.png has no mask"),
        (_no_masks, "PAIRS: expected images/ and one of masks, masks.json"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    home: Path,
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run_editvec: Callable[..., int],
    spoil: Callable[[Path], None],
    told: str,
) -> None:
    spoiled = copied(pairs, tmp_path / "spoiled")
    spoil(spoiled)

    status = run_editvec("train", "segmentation", "--class", "tiny", "--device", "cpu", spoiled)

    out, err = capsys.readouterr()
    assert status == 1
    assert out == ""
    assert err.startswith("editvec: error: ")
    assert err.count("\n") == 1
    assert told in err
    assert versions(home) == 1


def test_full_memory_says_which_setting_needs_less(
    home: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(SegmentationTrainee, "step", full)
    with pytest.raises(OutOfMemoryError, match=r"lower --members \(2 now\) or --pixels \(16\)"):
        trained(home, pairs)
    assert versions(home) == 1


def test_full_disk_names_the_folder(
    home: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(editvec.batch.training.segmentation_features, "PixelFeatures", full)
    with pytest.raises(SettingsError, match=r"cannot take .* of features \(No space left"):
        trained(home, pairs)


def test_command_prints_the_parts_or_json(
    pairs: Path, capsys: pytest.CaptureFixture[str], run_editvec: Callable[..., int]
) -> None:
    words = ["train", "segmentation", "--class", "tiny", "--embed", "steps:2", "--steps", "4"]
    words += ["--members", "2", "--folds", "2", "--device", "cpu", "--masks", str(pairs / "masks")]

    assert run_editvec(*words, pairs / "images") == 0
    out, err = capsys.readouterr()
    assert run_editvec(*words, "--json", pairs / "images") == 0
    result = json.loads(capsys.readouterr().out)

    assert out.splitlines()[0] == "tiny@2"
    assert out.splitlines()[1].split() == ["part", "images", "pixels", "IoU", "uncertainty"]
    assert "embedded 6/6 images" in err
    assert result["address"] == "tiny@2"
    assert result["trained_on"] == COUNT
    assert result["measured"]["parts"][0]["name"] == "background"
    assert Path(result["predictions"]).is_file()


# ---


def _bundle(home: Path, address: str) -> Path:
    with Library.open(RegistryConfig.for_home(home)) as library:
        return library.materialise_bundle(library.get_class(address))


def _members(folder: Path) -> dict[str, torch.Tensor]:
    return dict(read_networks(folder / "bundle")[1]["segmentation"].state)


def test_ignored_pixels_are_told_and_never_judged(home: Path, pairs: Path, tmp_path: Path) -> None:
    holey = copied(pairs, tmp_path / "holey")
    counted = {}
    for path in (holey / "masks").iterdir():
        mask = np.array(Image.open(path))
        mask[:8] = 255
        Image.fromarray(mask).save(path)
        counted[path.stem] = np.bincount(mask[8:].ravel(), minlength=6)
    told: list[str] = []

    result = trained(home, holey, told)

    assert "25.0% of the annotated pixels are ignored" in told
    assert [part.pixels for part in result.quality.parts] == sum(counted.values()).tolist()
    assert result.picture is not None


def test_mask_that_counts_nowhere_is_refused_by_name(
    home: Path, pairs: Path, tmp_path: Path
) -> None:
    holey = copied(pairs, tmp_path / "holey")
    Image.new("L", (32, 32), 255).save(holey / "masks" / "3.png")

    with pytest.raises(MaskError, match=r"3\.png: every pixel is ignored"):
        trained(home, holey)


def test_diverged_branch_is_not_stored_and_the_setting_is_named(
    home: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = versions(home)
    words = ["--home", str(home), "train", "segmentation", "--class", "tiny", "--embed", "steps:2"]
    words += ["--steps", "20", "--pixels", "16", "--members", "2", "--folds", "0"]

    status = editvec.cli.main([*words, "--learning-rate", "1", "--device", "cpu", str(pairs)])

    error = capsys.readouterr().err.splitlines()[-1]
    assert status == 1
    assert error.startswith("editvec: error: segmentation of tiny: the loss is ")
    assert "nothing is stored: lower --learning-rate (1 now)" in error
    assert versions(home) == before
