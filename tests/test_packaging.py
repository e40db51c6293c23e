"""The sdist and the wheel that is built from it work without the source tree."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.places import ROOT

PACKAGES = ("registry", "engine", "batch", "avatars", "cuda_ext", "migrations")
# what a user may have beside a script, each called as a room of ours
BESIDE = ("engine.py", "batch.py", "registry.py", "avatars.py", "migrations.py")
NOT_SOURCES = (".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "demo")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist of the sources, and the wheel that was built from the sdist."""
    folder = tmp_path_factory.mktemp("a folder with spaces")
    source = folder / "source"
    ignored = shutil.ignore_patterns(*NOT_SOURCES)
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]

    subprocess.run([*command, str(source)], check=True, capture_output=True, text=True)

    shutil.rmtree(source)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of a fresh environment: the wheel, and what it needs as it is installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    program = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    # a path file inside a folder that is named by a path file is not read: ours is not found there
    needed = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "needed.pth").write_text("\n".join(needed))
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    pip = [sys.executable, "-m", "pip", "--python", str(program)]
    subprocess.run([*pip, *install], check=True, capture_output=True, text=True)
    return program


def _run(python: Path, *words: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(
        [str(python), *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_wheel_holds_every_source_and_all_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    patterns = ("*.py", "*.mako", "*.yaml", "csrc/*", "bundle/*", "templates/*", "*.zip")
    wanted = {
        f"editvec/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for pattern in patterns
        for path in (ROOT / package).rglob(pattern)
    }
    assert sorted(wanted - names) == []
    assert {"editvec/__init__.py", "editvec/cli.py", "editvec/py.typed"} <= names
    assert {"editvec/migrations/script.py.mako", "editvec/cuda_ext/csrc/bias_act.cu"} <= names
    assert {"editvec/avatars/bundle/bundle.json", "editvec/avatars/starter.editvec.zip"} <= names
    assert "editvec/registry/labels/label_schemes/celebamask-hq.yaml" in names
    assert "editvec/batch/reports/templates/style.css" in names
    assert "editvec/batch/evaluation/templates/pairs.html" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_installs_nothing_but_the_product(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        roots = {name.split("/")[0] for name in archive.namelist()}

    assert {root for root in roots if not root.endswith(".dist-info")} == {"editvec"}


def test_sdist_holds_real_files_and_what_a_packager_wants(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}

    assert [member.name for member in members if member.issym() or member.islnk()] == []
    assert {"constraints.txt", "alembic.ini", "Makefile", "LICENSE", "CONTRIBUTING.md"} <= names
    assert {"docs/architecture.md", "docs/images/demo.png", "tests/conftest.py"} <= names
    assert {"editvec/registry/library/library.py", "editvec/avatars/bundle/bundle.json"} <= names
    assert {"tests/fixtures/rosinality_r32.weights.safetensors", ".ci/run"} <= names


def test_installed_command_creates_a_database_far_from_the_sources(
    python: Path, tmp_path: Path
) -> None:
    home = tmp_path / "my home"
    editvec = ("-m", "editvec", "--home", str(home))

    where = _run(
        python, "-c", "import editvec.registry; print(editvec.registry.__file__)", cwd=tmp_path
    )
    _run(python, *editvec, "db", "upgrade", cwd=tmp_path)
    listing = _run(python, *editvec, "registry", "list", "--json", cwd=tmp_path)

    assert Path(where.strip()).is_relative_to(python.parents[1])
    assert (home / "editvec.db").exists()
    assert listing.strip() == "[]"


def test_files_of_a_user_that_are_called_as_our_rooms_hide_nothing(
    python: Path, tmp_path: Path
) -> None:
    for name in BESIDE:
        (tmp_path / name).write_text("raise SystemExit('the wrong module was imported')\n")
    (tmp_path / "script.py").write_text(
        "import sys\n"
        "from editvec.avatars import starter\n"
        "from editvec.batch import demo\n"
        "from editvec.cli import main\n"
        "demo.PHOTO_COUNT, starter.NUM_STEPS = 3, 4\n"
        "sys.exit(main(['demo', 'out', '--device', 'cpu']))\n"
    )

    _run(python, "script.py", cwd=tmp_path)
    listing = _run(python, "-m", "editvec", "--home", "out/home", "registry", "list", cwd=tmp_path)

    assert len(list((tmp_path / "out").rglob("images/**/*.png"))) >= 3
    assert "surprise" in listing
