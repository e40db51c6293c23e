"""The sampler of small wrong changes: what it changes, and which tests have to notice."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants.rooms import OTHERS, PACKAGES, chosen_tests, modules_of, package_of
from tests.support.places import ROOT

CODE = '''\
def read(path, size, found):
    """A docstring."""
    if size > 3 and found:
        check(path)
    try:
        total = min(size, 7) + 1
    except (OSError, a.Other) as exc:
        raise
    return np.clip(total, 0, 1), path / "a", zip(found, found, strict=True)
'''


def test_every_module_of_a_package_has_tests_that_are_there() -> None:
    for package in PACKAGES:
        modules = modules_of(package, ROOT)
        assert modules
        for module in modules:
            files = chosen_tests(module, ROOT)
            assert package_of(module) == package
            assert files
            assert all((ROOT / file).is_file() for file in files)


def test_packages_share_no_module() -> None:
    modules = [module for package in PACKAGES for module in modules_of(package, ROOT)]

    assert len(set(modules)) == len(modules)
    assert {"registry/masks/png.py", "batch/sinks/coco.py", "engine/editor.py"} <= set(modules)


def test_other_tests_and_their_rooms_are_there() -> None:
    for start, tests in OTHERS.items():
        assert list(ROOT.glob(f"{start}*")), start
        assert all((ROOT / test).exists() for test in tests)


def test_the_test_of_the_same_name_comes_first_and_importers_before_the_room() -> None:
    files = chosen_tests("batch/sinks/ledger.py", ROOT)

    assert files[0] == "tests/batch/sinks/test_ledger.py"
    assert files.index("tests/batch/sinks/test_ledger.py") < files.index(
        "tests/batch/sinks/test_card.py"
    )


def test_each_kind_of_change_is_found_and_only_what_says_something(tmp_path: Path) -> None:
    pytest.importorskip("cosmic_ray")
    from benchmarks.mutants.changes import changed, changes_of

    path = tmp_path / "module.py"
    path.write_text(CODE)
    lines = CODE.splitlines()

    codes = [changed(path, change) for changes in changes_of(path).values() for change in changes]
    differences = {
        new.strip()
        for code in codes
        for old, new in zip(lines, (code or "").splitlines(), strict=True)
        if old != new
    }

    assert {
        "if size >= 3 and found:",
        "if size > 3 or found:",
        "if (size > 3):",
        "if (found):",
        "pass",
        "total = (size) + 1",
        "total = (7) + 1",
        "except () as exc:",
        'return (total), path / "a", zip(found, found, strict=True)',
    } <= differences
    assert "total = min(size, 7) - 1" in differences
    assert not any("strict=False" in line or "path * " in line for line in differences)


def test_the_same_seed_draws_the_same_mutants_evenly() -> None:
    pytest.importorskip("cosmic_ray")
    from benchmarks.mutants.sample import draw

    drawn = draw(["sinks", "masks"], count=2, seed=5, root=ROOT)

    assert drawn == draw(["sinks", "masks"], count=2, seed=5, root=ROOT)
    assert drawn != draw(["sinks", "masks"], count=2, seed=6, root=ROOT)
    assert [package_of(mutant.module) for mutant in drawn] == ["sinks", "masks"]
    assert len({mutant.module for mutant in drawn}) == 2


@pytest.mark.slow
def test_a_trial_tells_what_is_caught_and_leaves_the_checkout_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("cosmic_ray")
    program = """
import sys
from pathlib import Path
from benchmarks.mutants import trials
from benchmarks.mutants.changes import changes_of
from cosmic_ray.work_item import MutationSpec, WorkItem
copy = Path(sys.argv[1])
trials.renew_copy(Path.cwd(), copy)
trials.enter_copy(copy)
module = Path("registry/quantities.py")
for number in (0, -1):
    change = changes_of(module)["comparison"][number]
    spec = MutationSpec(module, change.operator, change.occurrence, change.start, change.end)
    print(trials.try_mutant(WorkItem.single("x", spec), timeout_seconds=300).test_outcome.value)
"""
    before = (ROOT / "registry/quantities.py").read_bytes()

    command = [sys.executable, "-c", program, str(tmp_path / "copy")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(result.stdout.split()) <= {"killed", "survived"}
    assert "killed" in result.stdout
    assert (ROOT / "registry/quantities.py").read_bytes() == before
