"""What an evaluation is told: limits from both sides, and words that go there and back."""

from pathlib import Path
from typing import Any

import pytest

from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.settings import AskedMode, EvaluateSettings
from editvec.batch.recipes.settings import Mode


@pytest.mark.parametrize(
    ("text", "mode", "steps", "suffix"),
    [
        ("vector", Mode.VECTOR, 0, ""),
        ("refine", Mode.REFINE, 10, ".refine-10"),
        (" refine:1 ", Mode.REFINE, 1, ".refine-1"),
        ("optimize", Mode.OPTIMIZE, 100, ".optimize-100"),
        ("optimize:10000", Mode.OPTIMIZE, 10_000, ".optimize-10000"),
    ],
)
def test_modes_are_read_and_written(text: str, mode: Mode, steps: int, suffix: str) -> None:
    asked = AskedMode.parse(text)

    assert (asked.mode, asked.num_steps, asked.suffix) == (mode, steps, suffix)
    assert AskedMode.parse(str(asked)) == asked


@pytest.mark.parametrize(
    "text",
    ["", "vector:3", "refine:", "refine:0", "refine:10001", "refine:-1", "blend", "refine:1x"],
)
def test_other_modes_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^modes: expected"):
        AskedMode.parse(text)


RISING = tuple(float(n) for n in range(41))


@pytest.mark.parametrize(
    ("name", "fitting", "wrong"),
    [
        ("samples", (1, 10_000), (0, 10_001)),
        ("renders", (0, 10_000), (-1, 10_001)),
        ("seed", (0, 2**62 - 1), (-1, 2**62)),
        ("modes", (("vector",), ("refine:1", "refine:2")), ((), ("refine", "refine:10"))),
        ("scales", ((), (0.0, 1.0, 2.0), RISING),
         ((0.0, 1.0), (0.0, 1.0, 1.0), (0.0, 2.0, 1.0), (*RISING, 41.0))),
        ("min_leakage_psnr", (0.0, 50.0), (-0.1, float("inf"), float("nan"))),
        ("max_leakage", (0.0, None), (-0.1, float("nan"))),
        ("max_reconstruction", (0.0, None), (-0.1, float("inf"))),
    ],
)  # fmt: skip
def test_settings_end_at_their_limits(
    name: str, fitting: tuple[Any, ...], wrong: tuple[Any, ...]
) -> None:
    for value in fitting:
        EvaluateSettings(**{name: value})
    for value in wrong:
        with pytest.raises(SettingsError, match=f"^{name}: expected"):
            EvaluateSettings(**{name: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probe": Path("/p"), "renders": 1}, "probe, renders: expected one of them"),
        ({"masks": Path("/m")}, "masks: only pictures of a folder have them"),
        ({"masks": Path("/m"), "probe": Path("/p"), "operation": "mouth: grow 1"},
         "masks, operation: expected one of them"),
        ({"masks": Path("/m"), "probe": Path("/p"), "operation": ""}, None),
        ({"probe": Path("/p")}, None),
        ({"renders": 3}, None),
    ],
)  # fmt: skip
def test_settings_go_together_or_are_refused(settings: dict[str, Any], message: str | None) -> None:
    if message is not None:
        with pytest.raises(SettingsError, match=f"^{message}"):
            EvaluateSettings(**settings)
        return
    made = EvaluateSettings(**settings, scales=(-1.0, 0.0, 1.0))
    assert EvaluateSettings.from_json(made.to_json()) == made


def test_images_are_told_in_words() -> None:
    folder = EvaluateSettings(probe=Path("/a/photos"), embed="steps:5")
    long = EvaluateSettings(probe=Path("/a") / ("x" * 250))

    assert folder.probe_set() == "folder photos, steps:5"
    assert EvaluateSettings(renders=2, seed=7).probe_set() == "renders, seed 7, encoder"
    assert EvaluateSettings(seed=7).probe_set() == "samples, seed 7"
    assert len(long.probe_set()) == 200
    asked = (folder, EvaluateSettings(renders=2), EvaluateSettings())
    assert [one.is_sampled for one in asked] == [False, False, True]


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    made = EvaluateSettings(probe=Path("p"), reference=Path("r")).absolute()

    assert (made.probe, made.reference) == (tmp_path / "p", tmp_path / "r")
    assert made.masks is None


def test_files_of_all_folders_are_listed(tmp_path: Path) -> None:
    for name in ("p/b.png", "m/a.png", "r/c.jpg", "r/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * len(name))

    folders = {"probe": tmp_path / "p", "masks": tmp_path / "m", "reference": tmp_path / "r"}
    found = EvaluateSettings(**folders).files()

    assert [(name, size) for name, size, _ in found] == [("b.png", 7), ("a.png", 7), ("c.jpg", 7)]
    assert found[0][2] == (tmp_path / "p/b.png").stat().st_mtime_ns
    assert EvaluateSettings().files() == []
