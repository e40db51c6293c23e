import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner, Result
from PIL import Image

from editvec.engine.cli import engine
from editvec.engine.errors import (
    BundleError,
    EngineCompatibilityError,
    EngineSettingsError,
    ImageError,
    NonFiniteError,
)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(engine, [str(argument) for argument in arguments])


def test_importing_the_commands_imports_no_torch() -> None:
    code = (
        "import editvec.engine.cli, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sampling_writes_images_and_index_masks(small: Path, tmp_path: Path) -> None:
    result = _run("sample", small, tmp_path / "out", "--count", 3, "--seed", 4)

    assert result.exit_code == 0, result.output
    assert result.output.split() == [str(tmp_path / "out" / f"0000{i}.png") for i in range(3)]
    for index in range(3):
        with Image.open(tmp_path / "out" / f"0000{index}.png") as picture:
            assert (picture.mode, picture.size) == ("RGB", (16, 16))
        with Image.open(tmp_path / "out" / f"0000{index}.mask.png") as mask:
            assert mask.mode == "P"
            assert np.asarray(mask).max() < 6


def test_the_same_seed_writes_the_same_bytes(small: Path, tmp_path: Path) -> None:
    for name, count in (("a", 2), ("b", 3)):
        assert _run("sample", small, tmp_path / name, "--count", count).exit_code == 0

    for index in range(2):
        first, second = (tmp_path / name / f"0000{index}.png" for name in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_verify_prints_the_digests(small: Path) -> None:
    result = _run("verify", small)

    assert result.exit_code == 0
    assert "6 files" in result.output


def test_verify_finds_an_altered_file(make_tiny_bundle, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle", resolution=16)
    weights = bundle / "encoder.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    result = _run("verify", bundle)

    assert isinstance(result.exception, BundleError)


@pytest.mark.parametrize("kind", ["safetensors", "npy", "npy-with-batch"])
def test_apply_writes_the_edited_picture(small: Path, tmp_path: Path, kind: str) -> None:
    delta = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    path = tmp_path / f"delta.{kind.partition('-')[0]}"
    if kind == "safetensors":
        safetensors.numpy.save_file({"delta": delta}, path)
    else:
        np.save(path, delta[None] if kind == "npy-with-batch" else delta)
    assert _run("sample", small, tmp_path, "--count", 1).exit_code == 0
    source = tmp_path / "00000.png"

    for scale in (0, 1):
        target = tmp_path / f"edited{scale}.png"
        result = _run("apply", small, path, source, target, "--scale", scale, "--embed-steps", 1)
        assert result.exit_code == 0, result.exception
        assert "dB" in result.output

    unedited, edited = (np.asarray(Image.open(tmp_path / f"edited{i}.png")) for i in (0, 1))
    assert unedited.shape == (16, 16, 3)
    assert (unedited != edited).any()


def test_deltas_and_pictures_that_do_not_fit_are_refused(small: Path, tmp_path: Path) -> None:
    picture, text = tmp_path / "picture.png", tmp_path / "text.png"
    Image.new("RGB", (20, 20)).save(picture)
    text.write_text("not a picture")
    right = np.zeros((6, 8), np.float32)
    files = {
        "shape.npy": np.zeros((6, 9), np.float32),
        "nan.npy": right * np.nan,
        "object.npy": np.array([{"a": 1}], dtype=object),
        "right.npy": right,
    }
    for name, array in files.items():
        np.save(tmp_path / name, array, allow_pickle=True)
    (tmp_path / "broken.safetensors").write_bytes(b"\0" * 100)
    safetensors.numpy.save_file({"a": right, "b": right}, tmp_path / "two.safetensors")
    expected = {
        ("shape.npy", picture): EngineCompatibilityError,
        ("nan.npy", picture): NonFiniteError,
        ("object.npy", picture): EngineCompatibilityError,
        ("broken.safetensors", picture): EngineCompatibilityError,
        ("two.safetensors", picture): EngineCompatibilityError,
        ("right.npy", text): ImageError,
    }

    for (name, source), error in expected.items():
        result = _run(
            "apply", small, tmp_path / name, source, tmp_path / "out.png", "--embed-steps", 0
        )
        assert type(result.exception) is error, (name, result.exception)
        assert "\n" not in str(result.exception)
    same = _run("apply", small, tmp_path / "right.npy", picture, picture, "--embed-steps", 0)
    assert isinstance(same.exception, EngineSettingsError)
    assert not (tmp_path / "out.png").exists()
