"""`registry add` and `registry export FILE.safetensors`, through the root command."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import editvec.cli
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import encode_brush
from tests.support.registry_fixtures import NUM_WS, RESOLUTION, W_DIM, random_delta

Run = Callable[..., str]


class Failure(AssertionError):
    """A command that ended with another status than 0."""


@pytest.fixture
def run(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a home that holds the class `avatars`; returns what it printed."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        status = editvec.cli.main(["--home", str(tmp_path / "home"), *map(str, arguments)])
        output = capsys.readouterr()
        if status != 0:
            raise Failure(f"{status}: {output.err}")
        return output.out.strip()

    run("model", "add", bundle)
    return run


@pytest.fixture
def library_blobs(tmp_path: Path) -> Callable[[str], bytes]:
    """Reads a blob of the home that `run` uses."""

    def read(digest: str) -> bytes:
        with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
            return library.blobs.get(digest)

    return read


def _npy(tmp_path: Path, array: Any, name: str = "smile") -> Path:
    path = tmp_path / f"{name}.npy"
    np.save(path, array)
    return path


def _show(run: Run, address: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(run("registry", "show", address, "--json"))
    return shown


def test_boundary_needs_its_space_and_keeps_its_file(run: Run, tmp_path: Path) -> None:
    path = _npy(tmp_path, np.ones((1, W_DIM)), "age_boundary")
    add = ("registry", "add", path, "--name", "age", "--roi", "skin")

    with pytest.raises(Failure, match=r"1: editvec: error: .*--space W or --space Z"):
        run(*add)
    assert run(*add, "--space", "W") == "avatars/age@1"
    assert run(*add, "--space", "Z") == "avatars/age@2"

    in_w, in_z = _show(run, "age@1"), _show(run, "age@2")
    assert (in_w["latent_space"], in_w["num_ws"]) == ("W", NUM_WS)
    assert (in_z["latent_space"], in_z["num_ws"]) == ("Z", 1)
    assert in_z["original_name"] == "age_boundary.npy"
    text = run("registry", "show", "age@2")
    assert "Z [1, 4], rows 1" in text
    assert f"age_boundary.npy ({in_z['original_digest'][:12]})" in text


def test_options_say_what_the_file_does_not(run: Run, tmp_path: Path) -> None:
    run(
        *("registry", "add", _npy(tmp_path, random_delta()), "--roi", "mouth"),
        *("--rows", "2:5", "--dilation", "3", "--default-scale", "0.5"),
        *("--scale-range", "-1.5:2", "--license", "CC0-1.0"),
    )

    shown = _show(run, "smile")
    assert shown["row_mask"] == [False, False, True, True, True, False]
    assert (shown["dilation"], shown["default_scale"]) == (3, 0.5)
    assert (shown["scale_min"], shown["scale_max"]) == (-1.5, 2.0)
    assert shown["license"] == "CC0-1.0"


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        (("--brush", "brush.png"), "brush"),
        (("--brush", "brush.png", "--roi", "mouth"), "union"),
        (("--brush", "brush.png", "--roi", "mouth", "--roi-policy", "brush"), "brush"),
        (("--roi", "mouth"), "labels"),
    ],
)
def test_brush_and_parts_say_the_policy(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    policy: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("brush.png").write_bytes(encode_brush(np.ones((RESOLUTION, RESOLUTION), bool)))

    run("registry", "add", _npy(tmp_path, random_delta()), *options)

    shown = _show(run, "smile")
    assert shown["roi_policy"] == policy
    assert (shown["brush_digest"] is None) == (policy == "labels")


def test_exported_file_is_added_without_options(run: Run, tmp_path: Path) -> None:
    run("registry", "add", _npy(tmp_path, random_delta()), "--roi", "mouth,teeth")
    path = tmp_path / "smile.safetensors"

    assert run("registry", "export", path, "smile") == f"{path}: avatars/smile@1"
    again = run("registry", "add", path)
    assert again == "avatars/smile@1 (the library held it already)"
    assert run("registry", "add", path, "--name", "grin") == "avatars/grin@1"
    assert _show(run, "grin")["roi_labels"] == ["mouth", "teeth"]


def test_plain_file_holds_one_vector(run: Run, tmp_path: Path) -> None:
    run("registry", "add", _npy(tmp_path, random_delta()), "--roi", "mouth")
    run("registry", "add", _npy(tmp_path, random_delta(1), "look"), "--roi", "eye")

    with pytest.raises(Failure, match=r"(?s)2: .*holds one vector, got 2"):
        run("registry", "export", tmp_path / "x.safetensors", "smile", "look")
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--roi", "mouth", "--rows", "4:9"), "rows: expected rows inside 0:6, got 4:9"),
        (("--roi", "mouth", "--space", "Z"), r"expected one row in space Z, got \[6, 4\]"),
        (("--roi", "mouth", "--space", "W"), "expected equal rows in space W"),
        (("--roi", "mouth", "--scale-range", "2:1"), "upside down"),
        (("--roi", "mouth", "--default-scale", "nan"), "expected a finite number"),
        (("--roi", "mouth", "--roi-policy", "union"), "ROI policy union needs a brush"),
        (("--roi", "mouth", "--brush", "nowhere.png"), "brush nowhere.png: No such file"),
        ((), "ROI: expected at least one part of class avatars@1: background"),
    ],
)
def test_what_does_not_fit_is_one_line_and_status_one(
    run: Run, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(Failure, match=message) as caught:
        run("registry", "add", _npy(tmp_path, random_delta()), *options)

    text = str(caught.value)
    assert text.startswith("1: editvec: error: ")
    assert text.strip().count("\n") == 0
    assert run("registry", "list", "--json") == "[]"


@pytest.mark.parametrize(
    "options",
    [
        ("--rows", "4"),
        ("--rows", "a:b"),
        ("--scale-range", "1"),
        ("--space", "X"),
        ("--roi-policy", "lasso"),
        ("--dilation", "-1"),
    ],
)
def test_options_that_cannot_be_read_are_status_two(
    run: Run, tmp_path: Path, options: tuple[str, ...]
) -> None:
    with pytest.raises(Failure, match="2: "):
        run("registry", "add", _npy(tmp_path, random_delta()), "--roi", "mouth", *options)


def test_empty_name_is_refused_and_not_the_name_of_the_file(run: Run, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"1: editvec: error: vector name: .* got ''"):
        run("registry", "add", _npy(tmp_path, random_delta()), "--roi", "mouth", "--name", "")


def _white_on_black(path: Path, painted: Any, kind: str) -> None:
    """One region in several ways of a PNG."""
    image = Image.fromarray(np.where(painted, 255, 0).astype(np.uint8))
    if kind == "quantized":  # the most frequent colour comes first: white
        image = Image.fromarray(painted.astype(np.uint8) ^ 1)
        image.putpalette([255, 255, 255, 0, 0, 0])
    if kind == "red":
        image = Image.fromarray(np.where(painted[..., None], [255, 0, 0], 0).astype(np.uint8))
    if kind == "clear":
        alpha = np.where(painted, 255, 0).astype(np.uint8)
        image = Image.fromarray(np.dstack([alpha * 0, alpha * 0 + 9, alpha * 0, alpha]))
    if kind == "bits":
        image = image.convert("1")
    image.save(path)


@pytest.mark.parametrize("kind", ["grey", "quantized", "red", "clear", "bits"])
def test_brush_is_what_its_colours_show(
    run: Run, library_blobs: Callable[[str], bytes], tmp_path: Path, kind: str
) -> None:
    painted = np.zeros((RESOLUTION, RESOLUTION), bool)
    painted[1 : RESOLUTION - 1, 2:] = True  # more than half
    _white_on_black(tmp_path / "brush.png", painted, kind)

    run("registry", "add", _npy(tmp_path, random_delta()), "--brush", tmp_path / "brush.png")

    assert library_blobs(_show(run, "smile")["brush_digest"]) == encode_brush(painted)


def test_brush_of_two_colours_is_refused(run: Run, tmp_path: Path) -> None:
    image = Image.fromarray(np.eye(RESOLUTION, dtype=np.uint8))
    image.putpalette([255, 255, 255, 255, 0, 0])
    image.save(tmp_path / "brush.png")

    with pytest.raises(Failure, match="which of them is the part cannot be told"):
        run("registry", "add", _npy(tmp_path, random_delta()), "--brush", tmp_path / "brush.png")


def test_mask_pair_keeps_ignored_pixels(
    run: Run, library_blobs: Callable[[str], bytes], tmp_path: Path
) -> None:
    mask = np.zeros((9, 7), np.uint8)
    mask[2:5, 2:5] = 1
    mask[5, 2:5] = 255
    Image.fromarray(mask).save(tmp_path / "before.png")
    Image.fromarray(np.where(mask == 1, 2, mask)).save(tmp_path / "after.png")
    Image.new("RGB", (7, 9)).save(tmp_path / "image.png")
    pair = [tmp_path / f"{name}.png" for name in ("image", "before", "after")]

    run("registry", "add", _npy(tmp_path, random_delta()), "--roi", "mouth", "--mask-pair", *pair)

    stored = _show(run, "smile")["pairs"][0]
    with Image.open(io.BytesIO(library_blobs(stored["mask_before_digest"]))) as image:
        assert (np.asarray(image) == mask).all()
    run("registry", "show", "smile", "--pair", tmp_path / "drawn.png")
    Image.new("L", (7, 9), 255).save(tmp_path / "after.png")
    with pytest.raises(Failure, match="every pixel is ignored"):
        run("registry", "add", tmp_path / "smile.npy", "--roi", "mouth", "--mask-pair", *pair)
