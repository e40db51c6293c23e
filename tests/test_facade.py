"""The names of `import editvec`: they are there, cost nothing until used, and are typed."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import editvec
from editvec.registry.library.library import Library
from tests.support.places import ROOT

SOURCE = ROOT / "editvec" / "__init__.py"
# what loads the slow libraries, or a part of this program
HEAVY = ("torch", "numpy", "sqlalchemy", "click", "PIL", "celery", "editvec.batch")
MILLISECONDS = 20


def test_every_name_is_there_and_told_to_type_checkers() -> None:
    told = {
        alias.asname
        for node in ast.walk(ast.parse(SOURCE.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("editvec.")
        for alias in node.names
        if alias.asname is not None
    }

    assert told == set(editvec._PLACES)
    for name in editvec.__all__:
        assert getattr(editvec, name) is not None
    assert set(dir(editvec)) == set(editvec.__all__)


def test_every_name_stands_on_the_page_about_python() -> None:
    shown = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "python.md").read_text()))

    assert {*editvec._PLACES, "open"} <= shown


def test_a_name_that_is_none_is_told_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'editvec' has no attribute 'smile'"):
        _ = editvec.smile  # type: ignore[attr-defined]


def test_the_import_loads_nothing_and_takes_no_time() -> None:
    program = f"""
import sys, time
import pathlib, typing, importlib
began = time.perf_counter()
import editvec
seconds = time.perf_counter() - began
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print(seconds * 1000, *loaded)
"""
    words = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(5)
    ]

    assert all(len(one) == 1 for one in words), words
    assert min(float(one[0]) for one in words) < MILLISECONDS


def test_a_library_opens_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_HOME", str(tmp_path / "home"))
    with editvec.open() as library:
        assert isinstance(library, Library)
        assert library.config.home == tmp_path / "home"
    with editvec.open(tmp_path / "other") as library:
        assert library.config.home == tmp_path / "other"
