"""`editvec train generator`: from a folder of photographs to a class version."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import editvec.cli
from editvec.batch.errors import SettingsError
from editvec.batch.quality.samples import grid_of, read_curve
from editvec.batch.training.generator import TrainedGenerator, train_generator
from editvec.engine.bundle.bundle import NetworkState, load_bundle, read_networks, write_bundle
from editvec.engine.errors import CheckpointError, OutOfMemoryError
from editvec.engine.images.images import read_image, write_png
from editvec.engine.training.generator import GeneratorTrainee
from editvec.engine.training.loop import read_log
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.killed_trainings import STEPS, request
from tests.support.places import ROOT

CLOCKS = ("seconds", "cpu_seconds")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(1)
    for number in range(18):
        write_png(folder / f"{number:02d}.png", random.integers(0, 256, (20, 24, 3), np.uint8))
    return folder


def trained(home: Path, photographs: Path, **changes: object) -> TrainedGenerator:
    config = RegistryConfig.for_home(home)
    with Library.open(config) as library:
        asked = dataclasses.replace(request(photographs), **changes)
        return train_generator(library, asked, device="cpu")


@pytest.fixture(scope="module")
def whole(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedGenerator:
    return trained(tmp_path_factory.mktemp("whole"), photographs)


def measured(folder: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in entry.items() if k not in CLOCKS} for entry in read_log(folder)]


def test_training_killed_by_the_system_ends_as_an_undisturbed_one(
    whole: TrainedGenerator, photographs: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "tests.support.killed_trainings", tmp_path, photographs, "4"]
    killed = subprocess.run(words, cwd=ROOT, check=False)

    resumed = trained(tmp_path, photographs)

    assert killed.returncode == -signal.SIGKILL
    assert resumed.model.generator_digest == whole.model.generator_digest
    assert resumed.model.bundle_digest == whole.model.bundle_digest
    assert measured(resumed.folder) == measured(whole.folder)
    assert len(measured(whole.folder)) >= STEPS // 2


def test_result_is_a_class_that_samples(whole: TrainedGenerator) -> None:
    loaded = load_bundle(whole.folder / "bundle")

    assert str(whole.model.address) == "toy@1"
    assert whole.model.resolution == 16
    assert [label.name for label in whole.model.labels] == ["background"]
    assert loaded.segmentation is None
    assert loaded.bundle.built["measured"]["network"] == "trunk/avatars/standardised"


def test_stored_is_what_measured_best(whole: TrainedGenerator) -> None:
    best = min(read_curve(whole.folder)[1:], key=lambda entry: entry["kid"])

    built = load_bundle(whole.folder / "bundle").bundle.built

    assert whole.images == 24
    assert built["images"] == best["images"] == whole.measured["images"]
    assert built["measured"]["kid"] == best["kid"]


def test_curve_and_grids_are_kept(whole: TrainedGenerator) -> None:
    curve = read_curve(whole.folder)

    assert [entry["images"] for entry in curve] == [0, 12, 24]
    assert all(entry["measured"] == 16 for entry in curve)
    names = sorted(path.name for path in (whole.folder / "samples").iterdir())
    assert names == ["000000.png", "000012.png", "000024.png", "photographs.png"]
    assert read_image(whole.folder / "samples" / "000024.png").shape == (128, 128, 3)


def test_finished_training_answers_with_the_version_that_is_there(
    photographs: Path, tmp_path: Path
) -> None:
    first = trained(tmp_path, photographs, images=8)
    again = trained(tmp_path, photographs, images=8)
    longer = trained(tmp_path, photographs, images=12)

    assert str(again.model.address) == str(first.model.address) == "toy@1"
    assert str(longer.model.address) == "toy@2"


def test_changed_setting_is_refused_by_name(photographs: Path, tmp_path: Path) -> None:
    trained(tmp_path, photographs, images=4)

    with pytest.raises(CheckpointError, match="begun with seed 4, not 5"):
        trained(tmp_path, photographs, seed=5)


def test_training_goes_on_from_another_class(photographs: Path, tmp_path: Path) -> None:
    first = trained(tmp_path, photographs, images=4)
    tuned = trained(
        tmp_path,
        photographs,
        class_name="tuned",
        start="toy",
        resolution=None,
        network={},
        images=4,
    )

    assert str(tuned.model.address) == "tuned@1"
    before, after = (load_bundle(one.folder / "bundle").generator for one in (first, tuned))
    noise = "synthesis.b4.conv1.noise_const"
    assert before.state_dict()[noise].equal(after.state_dict()[noise])
    assert first.model.generator_digest != tuned.model.generator_digest
    with pytest.raises(SettingsError, match="keeps its own size"):
        trained(tmp_path, photographs, class_name="tuned", start="toy", resolution=32)


def test_too_few_photographs_are_told(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    for path in sorted(photographs.iterdir())[:5]:
        (tmp_path / "few" / path.name).write_bytes(path.read_bytes())

    with pytest.raises(SettingsError, match=r"at least 16 that can be read, .* holds 5"):
        trained(tmp_path, tmp_path / "few")


def test_command_tells_what_it_skips_and_prints_json(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in photographs.iterdir():
        (mixed / path.name).write_bytes(path.read_bytes())
    (mixed / "torn.png").write_bytes((photographs / "00.png").read_bytes()[:300])
    (mixed / "notes.txt").write_text("mine")
    words = ["--home", str(tmp_path / "home"), "train", "generator", "--class", "toy"]
    words += ["--resolution", "16", "--kimg", "0.008", "--batch-size", "4", "--channel-base", "64"]
    words += ["--channel-max", "4", "--w-dim", "4", "--measured", "8", "--device", "cpu", "--json"]
    words += ["--seed", "1"]

    status = editvec.cli.main([*words, "--mirror", "--path-length", "0", str(mixed)])

    out, err = capsys.readouterr()
    result = json.loads(out)
    assert status == 0
    assert result["address"] == "toy@1"
    assert result["photographs"] == 18
    assert list(result["skipped"]) == ["torn.png"]
    assert "skipped torn.png: " in err
    assert "18 photographs, 1 skipped, 1 files that are no images left out" in err


def test_unknown_device_is_one_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(tmp_path), "train", "generator", "--class", "toy", "--resolution", "16"]

    status = editvec.cli.main([*words, "--device", "abacus", str(photographs)])

    assert status == 1
    assert capsys.readouterr().err.startswith("editvec: error: device: cannot use 'abacus'")


def test_missing_resolution_is_one_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(tmp_path), "train", "generator", "--class", "toy", str(photographs)]

    status = editvec.cli.main(words)

    assert status == 1
    assert capsys.readouterr().err.startswith("editvec: error: resolution: expected one")


def test_step_that_does_not_fit_says_which_setting_lowers_it(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: GeneratorTrainee, number: int) -> dict[str, object]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GeneratorTrainee, "step", step)

    with pytest.raises(OutOfMemoryError, match=r"out of memory: lower --batch-size \(4 now\)"):
        trained(tmp_path, photographs)
    assert not (tmp_path / "training" / "toy-generator" / "bundle").exists()


def test_grid_fills_rows_and_leaves_the_rest_black() -> None:
    pixels = np.arange(1, 4, dtype=np.uint8).reshape(3, 1, 1, 1).repeat(3, axis=3)

    grid = grid_of(pixels, columns=2)

    assert grid[..., 0].tolist() == [[1, 2], [3, 0]]


# --- trainings that come to nothing ---


def classes(home: Path) -> int:
    with Library.open(RegistryConfig.for_home(home)) as library:
        return len(library.classes())


@pytest.mark.parametrize(
    ("bad", "told", "good"),
    [
        (
            ["--learning-rate", "1", "--w-dim", "6", "--channel-base", "96"],
            r"a loss is .*nothing is stored: lower --learning-rate \(1 now\) or raise "
            r"--batch-size \(4 ",
            ["--w-dim", "4", "--channel-base", "64", "--seed", "1", "--path-length", "0"],
        ),
        (
            [
                *("--w-dim", "4", "--channel-base", "64", "--seed", "0", "--path-length", "0"),
                *("--gamma", "1000"),
            ],
            r"no better than before .*; KID .*nothing is stored: .*lower --gamma \(1000 now\)",
            ["--w-dim", "4", "--channel-base", "64", "--seed", "1", "--path-length", "0"],
        ),
    ],
)
def test_training_that_comes_to_nothing_stores_nothing_and_names_the_setting(
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    bad: list[str],
    told: str,
    good: list[str],
) -> None:
    words = ["--home", str(tmp_path), "train", "generator", "--class", "toy", "--resolution", "16"]
    words += ["--batch-size", "4", "--channel-max", "4", "--measured", "8", "--mirror"]
    words += ["--kimg", "0.016", "--device", "cpu", str(photographs)]

    statuses = [editvec.cli.main([*words, *bad]) for _ in range(2)]

    errors = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("editvec: error: ")
    ]
    assert statuses == [1, 1]
    assert len(errors) == 2
    for error in errors:  # the same again, from the state on disk
        assert re.search(f"generator of toy: {told}" if "loss" in told else told, error)
    assert classes(tmp_path) == 0
    # the folder takes other settings, though it was begun with these
    assert editvec.cli.main([*words, *good]) == 0


def test_training_too_short_to_get_better_is_stored_with_a_note(
    photographs: Path, tmp_path: Path
) -> None:
    small = {"z_dim": 4, "w_dim": 4, "channel_base": 64, "channel_max": 4}
    method = {"batch_size": 4, "path_length_weight": 0, "mirror": True}

    result = trained(
        tmp_path, photographs, images=16, network=small, training=method, measured=8, seed=0
    )

    first = read_curve(result.folder)[0]["kid"]
    assert result.measured["kid"] > first
    (note,) = result.notes
    assert "no better than before the first step, after 16 images" in note
    assert "raise --kimg (0.016 now)" in note


def test_best_before_a_divergence_is_stored_and_told(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_step = GeneratorTrainee.step

    def step(self: GeneratorTrainee, number: int) -> dict[str, object]:
        if number == 4:
            with torch.no_grad():
                self.discriminator.out.weight.mul_(1e9)
        return whole_step(self, number)

    monkeypatch.setattr(GeneratorTrainee, "step", step)
    result = trained(tmp_path, photographs, images=64)
    again = trained(tmp_path, photographs, images=64)

    assert load_bundle(result.folder / "bundle").bundle.built["images"] == 12
    assert result.measured["images"] == 12
    (note,) = result.notes
    assert "a loss is" in note
    assert "what is stored is the best before that, of 12 images" in note
    assert again.notes == result.notes
    assert again.model.address == result.model.address


def test_settings_of_a_training_that_came_to_something_stay(
    photographs: Path, tmp_path: Path
) -> None:
    first = trained(tmp_path, photographs, images=8)

    with pytest.raises(CheckpointError, match="begun with learning_rate"):
        trained(
            tmp_path, photographs, training={**request(photographs).training, "learning_rate": 0.5}
        )
    assert str(first.model.address) == "toy@1"


# --- a better generator of a class that is there ---


def test_another_generator_keeps_what_fits_and_says_what_does_not(
    tiny_bundle: Path, home: Path, photographs: Path
) -> None:
    before = load_bundle(tiny_bundle)
    size = before.bundle.resolution

    result = trained(home, photographs, class_name="tiny", resolution=size, images=24, seed=3)
    again = trained(home, photographs, class_name="tiny", resolution=size, images=24, seed=3)

    after = load_bundle(result.folder / "bundle")
    assert str(result.model.address) == str(again.model.address) == "tiny@2"
    assert after.bundle.labels == before.bundle.labels
    assert after.bundle.groups == before.bundle.groups
    assert after.bundle.valid_rectangle == before.bundle.valid_rectangle
    assert after.bundle.license == before.bundle.license
    assert after.bundle.built["parent"] == before.bundle.bundle_digest
    gone = {"segmentation", "encoder"}
    assert set(after.bundle.networks) == set(before.bundle.networks) - gone
    said = "\n".join(result.notes)
    assert "tiny@2 has no segmentation: that of tiny@1 is dropped, it reads features of" in said
    assert "`editvec train encoder --class tiny [PHOTOS]` makes one" in said
    assert "2 vectors stay with tiny@1: a vector belongs to the generator" in said
    assert again.notes == []


def test_networks_that_read_another_size_are_dropped_by_name(
    tiny_bundle: Path, home: Path, photographs: Path
) -> None:
    before = load_bundle(tiny_bundle).bundle
    top, left, bottom, right = before.valid_rectangle

    result = trained(home, photographs, class_name="tiny", resolution=16, images=24)

    after = load_bundle(result.folder / "bundle").bundle
    assert before.resolution == 32
    assert after.labels == before.labels
    assert after.valid_rectangle == (top // 2, left // 2, bottom // 2, right // 2)
    assert "classifier" in before.networks
    assert "classifier" not in after.networks
    assert "perceptual" in after.networks
    assert any(
        "no classifier: " in note and "reads pictures of another size" in note
        for note in result.notes
    )


def test_model_add_says_what_the_new_version_lacks(
    tiny_bundle: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, networks = read_networks(tiny_bundle)
    weights = {
        name: tensor + 0.25 if name.endswith("weight") else tensor
        for name, tensor in networks["generator"].state.items()
    }
    write_bundle(
        tmp_path / "other",
        class_name="tiny",
        description="Another one",
        license=bundle.license,
        labels=bundle.labels,
        networks={"generator": NetworkState(networks["generator"].config, weights)},
        built={},
    )

    status = editvec.cli.main(["--home", str(home), "model", "add", str(tmp_path / "other")])

    out, err = capsys.readouterr()
    assert status == 0
    assert out.strip() == "tiny@2"
    assert "tiny@2 has no segmentation: that of tiny@1 is dropped, it reads features of" in err
    assert "tiny@2 has no encoder: " in err
    assert "2 vectors stay with tiny@1: " in err
