"""Bundles that say more than they hold, and files that are none."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from editvec.engine.bundle.bundle import generator_digest, load_bundle
from editvec.engine.errors import BundleError


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(small, tmp_path / "copy"))


def _change(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change bundle.json and make its own digest right again."""
    path = folder / "bundle.json"
    values = json.loads(path.read_text())
    change(values)
    values.pop("bundle_digest", None)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    values["bundle_digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("network", "setting", "value"),
    [
        ("generator", "mapping_layers", 10**9),
        ("generator", "channel_max", 10**9),
        ("generator", "label_size", 10**12),
        ("segmentation", "members", 10**9),
        ("segmentation", "hidden", [10**9, 10**9]),
        ("encoder", "head_channels", 10**7),
        ("encoder", "head_channels", 10**18),
        ("encoder", "iterations", 10**9),
        ("perceptual", "channels", [4] * 100_000),
        ("classifier", "channels", [10**9, 10**9]),
    ],
)
def test_sizes_that_the_weights_do_not_have_are_refused_before_anything_has_them(
    copy: Path, network: str, setting: str, value: object
) -> None:
    _change(copy, lambda v: v["networks"][network]["config"].update({setting: value}))

    with pytest.raises(BundleError) as caught:
        load_bundle(copy)

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("value", ["x", True, 0, -1.0, [1], {}, float(10**31)])
def test_a_clamp_that_is_no_number_is_refused_by_name(copy: Path, value: object) -> None:
    _change(copy, lambda v: v["networks"]["generator"]["config"].update({"conv_clamp": value}))

    with pytest.raises(BundleError, match="conv_clamp: expected a positive number"):
        load_bundle(copy)


@pytest.mark.parametrize("name", ["bundle.json", "generator.safetensors"])
def test_pipes_and_devices_are_not_opened(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(BundleError, match=rf"{name}: expected a regular file"):
        load_bundle(copy)

    (copy / name).unlink()
    (copy / name).symlink_to("/dev/zero")
    with pytest.raises(BundleError, match=rf"{name}: expected a regular file"):
        load_bundle(copy)


def test_weights_of_eight_bits_are_refused_by_name(copy: Path) -> None:
    path = copy / "generator.safetensors"
    state = safetensors.torch.load_file(path)
    content = safetensors.torch.save(
        state | {"mapping.w_avg": torch.zeros(8).to(torch.float8_e5m2)}
    )
    path.write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    _change(copy, lambda v: v["files"].update({path.name: entry}))

    with pytest.raises(BundleError, match=r"mapping\.w_avg is torch\.float8_e5m2"):
        load_bundle(copy)


def test_a_clamp_makes_another_generator(copy: Path) -> None:
    state = safetensors.torch.load_file(copy / "generator.safetensors")
    before = json.loads((copy / "bundle.json").read_text())["generator_digest"]
    digests = {generator_digest(state, conv_clamp=clamp) for clamp in (0.5, 256, 257.0)}

    assert generator_digest(state, conv_clamp=None) == before
    assert len(digests | {before}) == 4
    assert generator_digest(state, conv_clamp=256) == generator_digest(state, conv_clamp=256.0)
    _change(copy, lambda v: v["networks"]["generator"]["config"].update({"conv_clamp": 0.5}))
    with pytest.raises(BundleError, match=r"tensors and conv_clamp 0\.5 have"):
        load_bundle(copy)
    digest = generator_digest(state, conv_clamp=0.5)
    _change(copy, lambda v: v.update({"generator_digest": digest}))
    assert load_bundle(copy).generator.synthesis.config.conv_clamp == 0.5
