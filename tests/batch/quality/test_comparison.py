"""`editvec model verify|compare|sample`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editvec.engine.bundle.bundle import read_networks, write_bundle
from editvec.engine.editor import Editor
from editvec.engine.images.images import read_image, to_pixels, write_png
from editvec.registry.blobs.local import LocalBlobStore
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library

Command = Callable[..., int]


@pytest.fixture
def without_encoder(home: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """`tiny@2`: the same class without its encoder and its segmentation branch."""
    bundle, networks = read_networks(tiny_bundle)
    write_bundle(
        tmp_path / "second",
        class_name="tiny",
        description="",
        license="",
        labels=bundle.labels,
        networks={name: networks[name] for name in ("generator", "perceptual")},
        built={"parent": bundle.bundle_digest},
    )
    with Library.open(RegistryConfig.for_home(home)) as library:
        library.add_bundle(tmp_path / "second")


def test_verify_finds_every_byte_in_its_place(
    run_editvec: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_editvec("model", "verify") == 0

    assert capsys.readouterr().out.startswith("tiny@1: 7 files, ")


def test_verify_names_an_altered_file(
    run_editvec: Command, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Library.open(RegistryConfig.for_home(home)) as library:
        model = library.get_class("tiny")
        assert isinstance(library.blobs, LocalBlobStore)
        encoder = next(file for file in model.files if file.name == "encoder.safetensors")
        place = Path(library.blobs.place(encoder.digest))
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.chmod(0o644)
    place.write_bytes(data)

    assert run_editvec("model", "verify", "tiny") == 1

    assert "encoder.safetensors: expected digest" in capsys.readouterr().out
    assert run_editvec("model", "verify", "tiny", "--json") == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["address"] == "tiny@1"
    assert len(found["faults"]) == 1


def test_samples_are_drawn_as_a_grid(run_editvec: Command, tmp_path: Path) -> None:
    assert run_editvec("model", "sample", "tiny", tmp_path / "grid.png", "--count", 9) == 0

    assert read_image(tmp_path / "grid.png").shape == (96, 96, 3)


@pytest.mark.usefixtures("without_encoder")
def test_comparison_is_one_table(
    run_editvec: Command, tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    editor = Editor.open(tiny_bundle)
    ws = editor.sample(4, seed=3)
    made = editor.synthesize_with_mask(ws)
    for number, pixels in enumerate(to_pixels(made.images)):
        (tmp_path / "pairs" / "images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "pairs" / "masks").mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / "pairs" / "images" / f"{number}.png", pixels)
        mask = made.mask[number].numpy().astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "pairs" / "masks" / f"{number}.png")
    words = ["model", "compare", "tiny@1", "tiny@2", "--photos", tmp_path / "pairs" / "images"]
    words += ["--pairs", tmp_path / "pairs", "--embed-steps", 2, "--device", "cpu"]

    assert run_editvec(*words, "--picture", tmp_path / "sheet.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert run_editvec(*words, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)

    assert [line.split()[0] for line in lines] == ["CLASS", "tiny@1", "tiny@2"]
    assert (first["images"], first["pairs"], second["pairs"]) == (4, 4, 0)
    assert second["psnr"] is None
    assert second["mean_iou"] is None
    assert 0 < first["mean_iou"] <= 1
    assert first["psnr_after"] >= first["psnr"]
    assert first["perceptual_name"] == second["perceptual_name"] == "perceptual/tiny"
    assert read_image(tmp_path / "sheet.png").shape == (96, 128, 3)


def test_samples_are_compared_where_there_are_no_photographs(
    run_editvec: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "model",
        "compare",
        "tiny",
        "--count",
        3,
        "--embed-steps",
        1,
        "--device",
        "cpu",
        "--json",
    )

    assert run_editvec(*words) == 0

    (row,) = json.loads(capsys.readouterr().out)
    assert row["images"] == 3


def test_classes_of_two_sizes_are_refused(
    run_editvec: Command,
    home: Path,
    make_tiny_bundle: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = make_tiny_bundle(tmp_path / "other", resolution=16, class_name="small")
    with Library.open(RegistryConfig.for_home(home)) as library:
        library.add_bundle(other)

    assert run_editvec("model", "compare", "tiny", "small") == 1

    assert "classes of one size" in capsys.readouterr().err
