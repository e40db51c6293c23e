"""`editvec train encoder`: samples, then photographs, to a version with an encoder."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import editvec.cli
from editvec.batch.errors import BatchError, SettingsError
from editvec.batch.quality.likeness import Unlike
from editvec.batch.training.encoder import TrainedEncoder, read_curve, train_encoder
from editvec.batch.training.requests import EncoderRequest, Watcher
from editvec.engine.bundle.bundle import read_networks, write_bundle
from editvec.engine.editing.inversion import EmbedSettings
from editvec.engine.editor import Editor
from editvec.engine.errors import CheckpointError, DivergedError
from editvec.engine.images.images import read_image, to_pixels, write_png
from editvec.engine.training.encoder import EncoderTrainee
from editvec.registry.config import RegistryConfig
from editvec.registry.errors import ClassNotFoundError
from editvec.registry.library.library import Library
from tests.support.killed_encoders import request
from tests.support.places import ROOT

CLOCKS = ("seconds", "cpu_seconds")


@pytest.fixture(scope="module")
def photographs(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of the class: samples that no training sees."""
    folder = tmp_path_factory.mktemp("photographs")
    editor = Editor.open(tiny_bundle)
    for number, pixels in enumerate(to_pixels(editor.synthesize(editor.sample(14, seed=99)))):
        write_png(folder / f"{number:02d}.png", pixels)
    return folder


def trained(
    home: Path,
    photographs: Path | None,
    watcher: Watcher | None = None,
    work: Path | None = None,
    **changes: object,
) -> TrainedEncoder:
    config = RegistryConfig.for_home(home)
    with Library.open(config) as library:
        asked: EncoderRequest = dataclasses.replace(request(photographs), **changes)
        return train_encoder(library, asked, work=work, device="cpu", watcher=watcher)


@pytest.fixture(scope="module")
def whole(
    photographs: Path, tiny_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainedEncoder]:
    home = tmp_path_factory.mktemp("whole") / "home"
    shutil.copytree(tiny_home, home)
    return home, trained(home, photographs)


def curve(one: TrainedEncoder) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in read_curve(one.folder)]


def test_training_killed_by_the_system_ends_as_an_undisturbed_one(
    whole: tuple[Path, TrainedEncoder], photographs: Path, home: Path
) -> None:
    words = [sys.executable, "-m", "tests.support.killed_encoders", home, photographs, "3"]
    killed = subprocess.run(words, cwd=ROOT, check=False)

    resumed = trained(home, photographs)

    assert killed.returncode == -signal.SIGKILL
    assert resumed.model.bundle_digest == whole[1].model.bundle_digest
    assert curve(resumed) == curve(whole[1])


def test_validation_falls_and_pictures_are_kept(whole: tuple[Path, TrainedEncoder]) -> None:
    rows = read_curve(whole[1].folder)

    assert [row["phase"] for row in rows] == ["warmup"] * 3 + ["joint"] * 2
    assert rows[2]["validation"] < 0.8 * rows[0]["validation"]
    assert rows[2]["samples_psnr"] > rows[0]["samples_psnr"]
    assert "photographs_psnr" not in rows[2]
    assert rows[3]["photographs_count"] == 1
    grid = read_image(whole[1].folder / "warmup" / "reconstructions.png")
    assert grid.shape == (64, 256, 3)


def test_new_version_keeps_everything_else(
    whole: tuple[Path, TrainedEncoder], tiny_bundle: Path
) -> None:
    home, result = whole
    with Library.open(RegistryConfig.for_home(home)) as library:
        first, second = library.get_class("tiny@1"), library.get_class("tiny@2")
        editor = Editor.open(library.materialise_bundle(second))
        vector = library.get_vector("tiny/smile")
    _, before = read_networks(tiny_bundle)

    assert result.model.bundle_digest == second.bundle_digest
    assert second.generator_digest == first.generator_digest == vector.generator_digest
    assert (second.labels, second.license) == (first.labels, first.license)
    files = {file.name: file.digest for file in first.files}
    changed = [file.name for file in second.files if files[file.name] != file.digest]
    assert sorted(changed) == ["bundle.json", "encoder.safetensors"]
    assert editor.bundle.built["parent"] == first.bundle_digest
    assert editor.bundle.built["seed"] == 0  # as the parent has it
    assert editor.bundle.built["encoder"]["photographs"]["count"] == 14
    assert editor.encoder is not None
    assert editor.encoder.config != before["encoder"].config


def test_finished_training_answers_with_the_version_that_is_there(
    whole: tuple[Path, TrainedEncoder], photographs: Path
) -> None:
    again = trained(whole[0], photographs)

    assert str(again.model.address) == "tiny@2"


def test_photographs_unlike_the_class_are_named_and_left_out(
    photographs: Path, home: Path, tmp_path: Path
) -> None:
    mixed = shutil.copytree(photographs, tmp_path / "mixed")
    noise = np.random.default_rng(0).integers(0, 2, (32, 32, 3), np.uint8) * 255
    write_png(mixed / "noise.png", noise)
    told: list[list[Unlike]] = []
    longer = {**request(mixed).training, "ws_steps": 50}

    result = trained(
        home,
        mixed,
        Watcher(on_unlike=told.append),
        warmup_steps=60,
        joint_steps=1,
        training=longer,
    )

    assert [one.name for one in result.unlike] == ["noise.png"]
    assert told == [result.unlike]
    assert result.photographs == 14
    assert result.unlike[0].psnr < 12


def test_folder_of_something_else_is_refused_and_changes_nothing(
    home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "noise"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(8):
        noise = random.integers(0, 2, (32, 32, 3), np.uint8) * 255
        write_png(folder / f"{number}.png", noise)

    with pytest.raises(SettingsError, match=r"do not look like class tiny: .* --keep-unlike"):
        trained(home, folder)

    with Library.open(RegistryConfig.for_home(home)) as library:
        assert [str(one.address) for one in library.classes()] == ["tiny@1"]
    assert trained(home, folder, keep_unlike=True, joint_steps=1).photographs == 8


def test_encoder_of_several_passes_is_recorded_and_embeds(home: Path) -> None:
    settings = {"ws_steps": 4, "validate_steps": 5}

    result = trained(home, None, iterations=3, warmup_steps=5, training=settings)

    with Library.open(RegistryConfig.for_home(home)) as library:
        editor = Editor.open(library.materialise_bundle(library.get_class("tiny")))
    assert result.config.iterations == 3
    assert editor.bundle.to_json()["networks"]["encoder"]["config"]["iterations"] == 3
    images = editor.synthesize(editor.sample(2, seed=5))
    assert editor.embed(images, EmbedSettings(num_steps=0)).ws.shape == (2, 8, 8)


def test_training_goes_on_from_the_encoder_of_the_class(home: Path) -> None:
    settings = {"validate_steps": 5}
    result = trained(home, None, goes_on=True, warmup_steps=1, training=settings)

    with Library.open(RegistryConfig.for_home(home)) as library:
        before = Editor.open(library.materialise_bundle(library.get_class("tiny@1"))).encoder
    assert before is not None
    assert result.config == before.config


def test_class_without_encoder_or_trunk_gets_both(
    tiny_bundle: Path, empty_home: Path, tmp_path: Path
) -> None:
    bundle, networks = read_networks(tiny_bundle)
    write_bundle(
        tmp_path / "bare",
        class_name="tiny",
        description="",
        license="",
        labels=bundle.labels[:1],
        networks={"generator": networks["generator"]},
        built={},
    )
    home = shutil.copytree(empty_home, tmp_path / "home")
    with Library.open(RegistryConfig.for_home(home)) as library:
        library.add_bundle(tmp_path / "bare")
    with pytest.raises(SettingsError, match="no encoder to go on from"):
        trained(home, None, goes_on=True)

    result = trained(home, None, warmup_steps=2, training={"validate_steps": 5})

    assert result.perceptual_name == "perceptual/avatars"
    with Library.open(RegistryConfig.for_home(home)) as library:
        editor = Editor.open(library.materialise_bundle(library.get_class("tiny@2")))
    assert editor.perceptual is not None
    assert editor.encoder is not None


def test_command_prints_table_and_json(
    photographs: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(home), "train", "encoder", "--class", "tiny", str(photographs)]
    words += ["--steps", "40", "--photo-steps", "2", "--batch-size", "4", "--width", "8"]
    words += ["--learning-rate", "0.01", "--held-out", "4", "--compared", "1"]
    words += ["--compared-steps", "2", "--device", "cpu", "--keep-unlike"]

    assert editvec.cli.main(words) == 0
    out, err = capsys.readouterr()
    assert editvec.cli.main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)

    assert out.startswith("tiny@2\n")
    assert [line.split("  ")[0] for line in out.splitlines()[-5:]] == [
        *("encoder", "encoder + 2 steps"),
        *("w_avg + 2 steps", "w_avg + 4 steps", "w_avg + 8 steps"),
    ]
    assert "14 photographs" in err
    assert "encoder of tiny, on samples: step 40/40" in err
    assert "encoder of tiny, on photographs: step 2/2" in err
    assert result["address"] == "tiny@2"
    assert result["measured"]["network"] == "perceptual/tiny"
    assert result["comparison"][0]["way"] == "encoder"


def test_bad_input_is_one_line_and_changes_nothing(
    photographs: Path, home: Path, tmp_path: Path, make_pictures: Callable[..., Path]
) -> None:
    few = make_pictures(3, folder="few")
    for source, error, words in (
        (tmp_path / "missing", BatchError, "missing"),
        (few, SettingsError, "at least 4 that can be read"),
    ):
        with pytest.raises(error, match=words):
            trained(home, source)
    with pytest.raises(ClassNotFoundError, match="zebra"):
        trained(home, None, class_address="zebra")
    with pytest.raises(SettingsError, match="batch_size"):
        trained(home, photographs, batch_size=1)
    with Library.open(RegistryConfig.for_home(home)) as library:
        assert len(library.classes()) == 1


def test_changed_setting_is_refused_by_name(home: Path) -> None:
    settings = {"validate_steps": 5}
    trained(home, None, warmup_steps=1, training=settings)

    with pytest.raises(CheckpointError, match="begun with seed 0, not 5"):
        trained(home, None, warmup_steps=1, training=settings, seed=5)


def test_step_that_does_not_fit_says_which_setting_lowers_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: EncoderTrainee, number: int) -> dict[str, object]:
        raise MemoryError

    monkeypatch.setattr(EncoderTrainee, "step", step)

    with pytest.raises(
        MemoryError, match=r"out of memory: lower --batch-size \(4 now\) or --width"
    ):
        trained(home, None)


# --- trainings that come to nothing ---


def test_diverged_encoder_is_not_stored_and_the_setting_is_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(home), "train", "encoder", "--class", "tiny", "--batch-size", "4"]
    words += ["--width", "8", "--held-out", "8", "--compared", "0", "--device", "cpu"]
    words += ["--steps", "120", "--validate-steps", "30"]

    statuses = [editvec.cli.main([*words, "--learning-rate", "1"]) for _ in range(2)]

    errors = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("editvec: error: ")
    ]
    assert statuses == [1, 1]
    assert len(errors) == 2
    for error in errors:
        assert "encoder of tiny: on samples, " in error
        assert "nothing is stored: lower --learning-rate (1 now)" in error
    with Library.open(RegistryConfig.for_home(home)) as library:
        assert len(library.classes()) == 1
    # the folder takes other settings, though it was begun with these
    assert editvec.cli.main([*words, "--learning-rate", "0.01"]) == 0


def test_encoder_of_before_is_kept_where_photographs_make_it_diverge(
    photographs: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_step = EncoderTrainee.step

    def step(self: EncoderTrainee, number: int) -> dict[str, object]:
        if self.settings.num_steps == 6 and number == 2:  # of the training on photographs
            with torch.no_grad():
                for parameter in self.encoder.parameters():
                    parameter.fill_(float("nan"))
        return whole_step(self, number)

    monkeypatch.setattr(EncoderTrainee, "step", step)
    result = trained(home, photographs)

    note, replaced = result.notes
    assert replaced == "the encoder of tiny@1 is replaced; all else stays"
    assert note.startswith("on photographs, the loss is nan at step 2; the encoder of before")
    encoder = read_networks(result.folder / "bundle")[1]["encoder"]
    assert all(bool(tensor.isfinite().all()) for tensor in encoder.state.values())
    assert result.measured["samples_psnr"] == read_curve(result.folder)[2]["samples_psnr"]


def test_continued_encoder_that_gets_no_better_is_not_stored(home: Path, tmp_path: Path) -> None:
    first = trained(home, None)

    with pytest.raises(DivergedError, match="no training has made it better than the one that"):
        trained(
            home,
            None,
            goes_on=True,
            training={**request(None).training, "learning_rate": 1.0},
            work=tmp_path / "again",
        )
    with Library.open(RegistryConfig.for_home(home)) as library:
        assert library.get_class("tiny").address == first.model.address
