"""What the targets install, and what lies beside the code for those who come to it."""

import shutil
import subprocess
import tomllib

import pytest
import yaml

from tests.support.places import ROOT

FRESH = "VENV=no-such-environment"
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def _told(*words: str) -> subprocess.CompletedProcess[str]:
    """What make would do in a fresh checkout."""
    return subprocess.run(
        ["make", "--dry-run", FRESH, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def _installs(*words: str) -> list[str]:
    """What pip is told to install, in order."""
    lines = _told(*words).stdout.splitlines()
    return [line.split("pip install ")[1] for line in lines if "pip install " in line]


def test_the_demo_installs_nothing_for_tests() -> None:
    assert not any("[test]" in one for one in _installs("demo"))
    assert _installs("demo")[-1].endswith("constraints.txt -e .")


@pytest.mark.parametrize("target", ["check", "test", "test-full", "soak"])
def test_tests_add_what_they_need(target: str) -> None:
    assert _installs(target)[-1].endswith("-e '.[test]'")


def test_builds_of_pytorch_for_cpus_come_first() -> None:
    (index,) = [
        place for place, one in enumerate(_installs("setup", "TORCH=cpu")) if "/cpu " in one
    ]

    assert _installs("setup", "TORCH=cpu")[index].endswith("torch torchvision")
    assert index < len(_installs("setup", "TORCH=cpu")) - 1
    assert not any("/cpu " in one for one in _installs("setup"))


def test_other_builds_are_refused() -> None:
    told = _told("setup", "TORCH=rocm")

    assert told.returncode != 0
    assert "TORCH: expected cpu or nothing, got rocm" in told.stderr


def test_the_citation_names_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


def test_hooks_and_forms_can_be_read() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    check = (ROOT / "Makefile").read_text()
    check = check[check.index("\ncheck:") : check.index("\ntest:")]

    for hook in hooks:
        assert hook["entry"].removeprefix(".venv/bin/").split()[0] in check
    for form in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(form.read_text())


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 120
