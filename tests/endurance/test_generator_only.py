"""A class that has a generator and nothing that makes masks: what it can do, and what it cannot."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import editvec.cli
from editvec.batch.reports.audit import audit
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.shards import member_names
from editvec.engine.bundle.bundle import read_networks, write_bundle
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.folder_runs import pixels, rows

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def car_home(tmp_path_factory: pytest.TempPathFactory, empty_home: Path, tiny_bundle: Path) -> Path:
    """A home folder with class `car`, as `model import` makes it, and a vector; read only."""
    folder = tmp_path_factory.mktemp("car")
    bundle, networks = read_networks(tiny_bundle)
    write_bundle(
        folder / "bundle",
        class_name="car",
        description="",
        license="unknown",
        labels=bundle.labels[:1],
        networks={name: networks[name] for name in ("generator", "perceptual")},
        built={},
    )
    home = folder / "home"
    shutil.copytree(empty_home, home)
    with Library.open(RegistryConfig.for_home(home)) as library:
        library.materialise_bundle(library.add_bundle(folder / "bundle"))
    shape = (bundle.num_ws, bundle.w_dim)
    delta = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.save(folder / "red.npy", delta)
    words = ("registry", "add", folder / "red.npy", "--name", "red", "--class", "car")
    assert editvec.cli.main(["--home", str(home), *map(str, words)]) == 0
    return home


@pytest.fixture
def run(tmp_path: Path, car_home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line on a library of the test's own: status, stdout, stderr."""
    shutil.copytree(car_home, tmp_path / "home")
    capsys.readouterr()

    def invoke(*words: object) -> tuple[int, str, str]:
        status = editvec.cli.main(["--home", str(tmp_path / "home"), *map(str, words)])
        told = capsys.readouterr()
        return status, told.out, told.err

    return invoke


def problems(home: Path) -> list[str]:
    with Library.open(RegistryConfig.for_home(home)) as library:
        (latest,) = Runs(library.engine).latest()
        return audit(library, latest).problems


def test_images_are_generated_and_edited_without_masks(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("batch", "generate", out, "--class", "car", "--count", 3, "--edit", "red=1")

    status, _, told = run(*words)

    assert status == 0, told
    assert "car@1 has no segmentation branch: no masks" in told
    assert not (out / "masks").exists()
    found = rows(out)
    assert [row["recipe"] for row in found] == ["source", "red+1.00"] * 3
    assert not any("mask_file_name" in row for row in found)
    assert problems(tmp_path / "home") == []
    before, after = (pixels(out / row["file_name"]).astype(int) for row in found[:2])
    assert (before != after).any(axis=2).mean() > 0.5, "the whole image is edited"
    assert (out / "report.html").exists()
    assert run(*words)[0] == 0, "the same command finds its run"


def test_shards_hold_samples_without_masks(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"

    status, _, told = run(
        *("batch", "generate", out, "--class", "car", "--count", 2, "--write", "webdataset")
    )

    assert status == 0, told
    assert [Path(name).suffix for name in member_names(out / "shards" / "000000.tar")] == [
        ".png",
        ".json",
        ".png",
        ".json",
    ]
    assert not any("mask_file_name" in row for row in rows(out))
    assert problems(tmp_path / "home") == []


def test_a_folder_is_edited_as_whole_images(
    run: Run, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("batch", "run", make_pictures(2), out, "--edit", "red=1", "--embed", "steps:2")

    refused, _, told = run(*words)
    status, _, _ = run(*words, "--composite", "none")

    assert refused == 1
    assert told.count("\n") == 1
    assert "car@1 has no segmentation branch, which --composite feather needs" in told
    assert "--composite none edits whole pictures" in told
    assert status == 0
    assert [row["source"] for row in rows(out)] == ["0.png", "1.png"]
    assert not any("mask_file_name" in row for row in rows(out))
    assert problems(tmp_path / "home") == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--write", "coco"), "which --write coco needs"),
        (("--max-leakage", "0.1"), "which --max-leakage needs"),
        (("--max-uncertainty", "0.1"), "which --max-uncertainty needs"),
        (("--mode", "refine"), "which --mode refine needs"),
    ],
)
def test_what_needs_masks_is_refused_before_anything_is_made(
    words: tuple[str, ...], reason: str, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    status, _, told = run(
        *("batch", "generate", out, "--class", "car", "--count", 2, "--edit", "red=1", *words)
    )

    assert status == 1
    assert reason in told
    assert told.count("\n") == 1
    assert not out.exists()


def test_an_encoder_that_is_not_there_is_refused_with_the_way_without(
    run: Run, make_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    status, _, told = run(
        *("batch", "run", make_pictures(1), tmp_path / "out", "--edit", "red=1"),
        *("--composite", "none"),
    )

    assert status == 1
    assert "car@1 has no encoder; --embed steps:N embeds without one" in told
    assert not (tmp_path / "out").exists()


def test_a_preview_shows_whole_images(run: Run, tmp_path: Path) -> None:
    status, told, error = run(
        *("registry", "preview", "car/red", "--count", 1, "--scales", "0:1:2"),
        *("--output", tmp_path / "preview.png", "--json"),
    )

    assert status == 0, error
    assert json.loads(told)["address"] == "car/red@1"
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.width > sheet.height / 2


def test_its_vectors_are_measured_as_far_as_it_goes(run: Run) -> None:
    status, told, _ = run("evaluate", "red", "--samples", 2, "--json")

    assert status == 0
    found = json.loads(told)
    assert {one["name"] for one in found["measures"]} == {"seconds_per_image"}
    missing = {one["name"]: one["reason"] for one in found["missing"]}
    assert "`train segmentation`" in missing["leakage"]
    assert "no attribute classifier" in missing["success_attribute"]
    assert "no identity network" in missing["identity_similarity"]


def test_vectors_together_need_masks_and_the_page_says_so(run: Run, tmp_path: Path) -> None:
    with Library.open(RegistryConfig.for_home(tmp_path / "home")) as library:
        delta = -0.5 * library.delta(library.get_vector("car/red"))
        np.save(tmp_path / "blue.npy", delta[::-1])
    run("registry", "add", tmp_path / "blue.npy", "--name", "blue", "--class", "car")
    page = tmp_path / "page.html"

    words = ("red", "blue", "--samples", 2, "--html", page)
    status, shown, _ = run("disentangle", *words)

    assert status == 0
    assert "moved, overlap, kept change: the class has no segmentation branch" in shown
    assert "success of car/red@1: class car has no attribute classifier" in shown
    assert "IoU" not in shown
    assert "Not measured" in page.read_text()
    assert page.read_text().count("<figure>") == 2


def test_directions_are_found_without_a_classifier_and_chosen_by_none(run: Run) -> None:
    status, out, _ = run("discover", "sefa", "car/wide", "--count", 1, "--samples", 20, "--json")

    (found,) = json.loads(out)
    assert status == 0
    assert found["metrics"] == []
    assert found["roi_labels"] == ["background"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("mean", "labels: class car has no attribute classifier; give a file of labels (--labels)"),
        ("sefa", "attribute: class car has no attribute classifier; without an attribute every"),
    ],
)
def test_without_a_classifier_labels_must_come_from_elsewhere(
    run: Run, words: str, message: str
) -> None:
    status, _, told = run("discover", words, "car/wide", "--attribute", "wide")

    assert status == 1
    assert message in told
    assert told.count("\n") == 1
