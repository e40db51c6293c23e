"""Presets of learning, and the network that images are compared by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from editvec.batch.cli.learn import learn as command
from editvec.batch.errors import SettingsError
from editvec.batch.learning.jobs import read_jobs
from editvec.batch.learning.planning import open_learn_run
from editvec.batch.learning.request import LearnRequest, LearnSettings
from editvec.engine.bundle.bundle import read_networks, write_bundle
from editvec.engine.networks.trunks import PUBLISHED_TRUNKS
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.lessons import write_lesson, write_lessons
from tests.support.published_trunks import write_cache

Editvec = Callable[..., int]

ENCODER_TERM = "preset released: without its encoder term, because the class has no encoder"


@pytest.fixture
def without(home: Path, tiny_bundle: Path, tmp_path: Path) -> Callable[[str], None]:
    """Adds `tiny@2`, the same class without some network."""

    def add(network: str) -> None:
        bundle, networks = read_networks(tiny_bundle)
        write_bundle(
            tmp_path / "second",
            class_name="tiny",
            description="",
            license="",
            labels=bundle.labels,
            networks={name: state for name, state in networks.items() if name != network},
            built={"parent": bundle.bundle_digest},
        )
        with Library.open(RegistryConfig.for_home(home)) as library:
            library.add_bundle(tmp_path / "second")

    return add


@pytest.fixture
def lesson(tmp_path: Path, tiny_bundle: Path) -> list[str]:
    """The words of a command that learns `tiny/grin` in no time."""
    entry = write_lesson(tmp_path / "lesson", tiny_bundle, "grin", seed=1)
    files = {name: str(tmp_path / "lesson" / entry[name]) for name in entry if name != "address"}
    return [
        *("learn", "tiny/grin", "--image", files["image"], "--mask-after", files["mask_after"]),
        *("--mask-before", files["mask_before"], "--embed", "steps:1", "--device", "cpu", "--json"),
    ]


# --- the released preset ---


def test_released_preset_learns_as_the_published_code_does(
    run_editvec: Editvec, lesson: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_editvec(*lesson, "--preset", "released", "--accept-failure") == 0

    told = capsys.readouterr()
    learned = json.loads(told.out)
    assert learned["num_steps"] == 29
    assert learned["settings"]["preset"] == "released"
    assert learned["settings"]["num_steps"] == 29
    assert learned["settings"]["learning_rate"] == 0.02
    assert learned["settings"]["reference"] == "reconstruction"
    assert learned["settings"]["weights"] == {
        "perceptual_weight": 150.0,
        "mse_weight": 75.0,
        "cross_entropy_weight": 1.0,
        "identity_weight": 0.0,
        "encoder_weight": 1.0,
        "mse_divisor": "all",
    }
    assert "encoder term" not in told.err


def test_a_class_without_an_encoder_loses_the_encoder_term_and_is_told(
    run_editvec: Editvec,
    lesson: list[str],
    without: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    without("encoder")

    assert run_editvec(*lesson, "--preset", "released", "--accept-failure") == 0

    told = capsys.readouterr()
    weights = json.loads(told.out)["settings"]["weights"]
    assert (weights["encoder_weight"], weights["perceptual_weight"]) == (0.0, 150.0)
    assert told.err.splitlines().count(ENCODER_TERM) == 1


def test_a_run_tells_once_what_its_class_cannot_give(
    library: Library, tmp_path: Path, tiny_bundle: Path, without: Callable[[str], None]
) -> None:
    lessons = write_lessons(tmp_path / "lessons", tiny_bundle, ("grin", "pout"))
    settings = LearnSettings(preset="released", embed="steps:1")
    asked = read_jobs(lessons, defaults=settings)
    assert open_learn_run(library, asked, output_folder=tmp_path / "one").notes == []

    without("encoder")

    assert open_learn_run(library, asked, output_folder=tmp_path / "two").notes == [ENCODER_TERM]
    ours = read_jobs(lessons, defaults=LearnSettings(embed="steps:1"))
    assert open_learn_run(library, ours, output_folder=tmp_path / "three").notes == []


# --- the trunk ---


def test_a_published_trunk_compares_the_images(
    run_editvec: Editvec,
    lesson: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_cache(tmp_path / "torch")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    names, digests = [], []
    for words in ((), ("--trunk", "squeeze"), ("--trunk", "alex")):
        assert run_editvec(*lesson, "--steps", "2", "--accept-failure", *words) == 0
        learned = json.loads(capsys.readouterr().out)
        names.append(learned["settings"]["perceptual"])
        digests.append(learned["delta_digest"])
        for metric in ("leakage_perceptual", "reconstruction_perceptual"):
            assert learned["metrics"][metric]["backbone"] == names[-1]

    assert names == ["perceptual/tiny", "lpips/squeeze", "lpips/alex"]
    assert len(set(digests)) == 3


def test_lessons_of_a_run_may_name_their_trunk(
    run_editvec: Editvec,
    library: Library,
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_cache(tmp_path / "torch")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    lessons = write_lessons(tmp_path / "lessons", tiny_bundle, ("grin", "pout"))
    said = {"roi_labels": ["mouth"], "accept_failure": True}
    (lessons / "pout.json").write_text(json.dumps(said))
    said["settings"] = {"trunk": "alex"}
    (lessons / "grin.json").write_text(json.dumps(said))
    words = ("--steps", "2", "--embed", "steps:1", "--trunk", "squeeze", "--device", "cpu")

    assert run_editvec("learn", "--lessons", lessons, *words) == 0

    grin, pout = (library.get_vector(f"tiny/{name}@1") for name in ("grin", "pout"))
    assert grin.settings["perceptual"] == "lpips/alex"
    assert pout.settings["perceptual"] == "lpips/squeeze"


def test_a_class_with_nothing_to_compare_by_is_told_of_the_published_trunk(
    run_editvec: Editvec,
    lesson: list[str],
    without: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    without("perceptual")
    write_cache(tmp_path / "torch")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    assert run_editvec(*lesson) == 1
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "perceptual" in one]
    assert "class tiny has no perceptual network" in line
    assert "--trunk vgg" in line

    assert run_editvec(*lesson, "--steps", "2", "--accept-failure", "--trunk", "squeeze") == 0
    assert json.loads(capsys.readouterr().out)["settings"]["perceptual"] == "lpips/squeeze"


def test_an_unknown_trunk_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="trunk: expected one of vgg, alex, squeeze, got 'res"):
        LearnSettings(trunk="resnet")  # type: ignore[arg-type]

    result = CliRunner().invoke(command, ["tiny/grin", "--trunk", "resnet"])

    assert result.exit_code == 2
    assert all(f"'{trunk}'" in result.output for trunk in PUBLISHED_TRUNKS)


def test_jobs_without_a_trunk_are_written_as_before(tmp_path: Path) -> None:
    plain = LearnRequest(address="a/b", image=Path("i.png"), mask_after=Path("m.png"))
    asked = LearnRequest(
        address="a/b",
        image=Path("i.png"),
        mask_after=Path("m.png"),
        settings=LearnSettings(trunk="vgg"),
    )

    assert set(plain.to_json(folder=tmp_path)["settings"]) == {
        "preset",
        "num_steps",
        "embed",
        "dilation",
    }
    assert asked.to_json(folder=tmp_path)["settings"]["trunk"] == "vgg"
    written = json.loads(json.dumps(asked.below(tmp_path).to_json(folder=tmp_path)))
    assert LearnRequest.from_json(written, folder=tmp_path) == asked.below(tmp_path)
