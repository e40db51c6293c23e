"""The installed wheel works without the source tree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("registry", "engine", "batch", "avatars", "cuda_ext", "migrations")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, so that the tree stays clean."""
    folder = tmp_path_factory.mktemp("a folder with spaces")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "editvec.py"):
        shutil.copy(ROOT / name, source / name)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "work")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]

    subprocess.run([*command, str(source)], check=True, capture_output=True, text=True)

    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _run(installed: Path, *words: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONWARNINGS": "error"}
    result = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_wheel_holds_every_source_and_all_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for pattern in ("*.py", "*.mako", "csrc/*", "bundle/*")
        for path in (ROOT / package).rglob(pattern)
    }
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "avatars").glob("*.zip")}
    assert sorted(wanted - names) == []
    assert "editvec.py" in names
    assert {"migrations/script.py.mako", "cuda_ext/csrc/bias_act.cu"} <= names
    assert {"avatars/bundle/bundle.json", "avatars/starter.editvec.zip"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_installs_nothing_but_the_product(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        roots = {name.split("/")[0] for name in archive.namelist()}

    assert {root for root in roots if not root.endswith(".dist-info")} == {
        "editvec.py",
        *PACKAGES,
    }


def test_installed_command_creates_a_database_far_from_the_sources(
    installed: Path, tmp_path: Path
) -> None:
    home = tmp_path / "my home"

    where = _run(installed, "-c", "import registry; print(registry.__file__)", cwd=tmp_path)
    _run(installed, "-m", "editvec", "--home", str(home), "db", "upgrade", cwd=tmp_path)
    listing = _run(
        installed, "-m", "editvec", "--home", str(home), "registry", "list", "--json", cwd=tmp_path
    )

    assert Path(where.strip()).is_relative_to(installed)
    assert (home / "editvec.db").exists()
    assert listing.strip() == "[]"
