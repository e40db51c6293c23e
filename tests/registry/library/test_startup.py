"""What a listing loads: it must start about as fast as SQLAlchemy does."""

import gc
import os
import subprocess
import sys
from statistics import median

from click.testing import CliRunner

from editvec.cli import cli
from editvec.registry.library.library import Library
from tests.support.places import ROOT
from tests.support.registry_fixtures import new_vector, random_delta

LATER = {"numpy", "PIL", "fsspec", "safetensors", "alembic", "torch", "celery", "yaml"}
PROGRAM = """
import sys
from editvec.cli import main
status = main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""


def _loaded_by(library: Library, *words: str) -> set[str]:
    """The top-level packages and modules that a command loads, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--home", str(library.config.home), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split()) | {name.split(".")[0] for name in done.stderr.split()}


def test_listing_loads_nothing_that_it_does_not_need(sqlite_library: Library) -> None:
    sqlite_library.add_vector(new_vector("smile", tags=("mood",)), random_delta())

    loaded = _loaded_by(sqlite_library, "registry", "list", "smi*", "--roi", "mouth", "--csv")

    assert "editvec.registry.library.library" in loaded
    assert loaded & LATER == set()


def test_listing_on_sqlite_loads_no_dialect_of_postgresql(sqlite_library: Library) -> None:
    loaded = _loaded_by(sqlite_library, "registry", "list")

    assert "sqlalchemy.dialects.sqlite" in loaded
    assert "sqlalchemy.dialects.postgresql" not in loaded


def test_showing_and_listing_classes_load_no_arrays_either(sqlite_library: Library) -> None:
    sqlite_library.add_vector(new_vector("smile"), random_delta())

    for words in (("registry", "show", "smile"), ("registry", "history"), ("model", "list")):
        assert _loaded_by(sqlite_library, *words) & LATER == set(), words


def test_commands_leave_the_collection_of_garbage_as_it_was(sqlite_library: Library) -> None:
    for collects in (True, False):
        (gc.enable if collects else gc.disable)()
        try:
            words = ["--home", str(sqlite_library.config.home), "model", "list"]
            assert CliRunner().invoke(cli, words, obj={}).exit_code == 0
            assert gc.isenabled() is collects
        finally:
            gc.enable()


def _processor_seconds(program: str, *words: str) -> float:
    """What a new process takes of the processor: other work on this machine adds little to it."""
    process = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def test_listing_takes_little_more_than_sqlalchemy_itself(sqlite_library: Library) -> None:
    for place in range(20):
        sqlite_library.add_vector(new_vector("smile", tags=("mood",)), random_delta(place))
    words = ("--home", str(sqlite_library.config.home), "registry", "list")
    _processor_seconds(PROGRAM, *words)  # compiles what was never compiled

    sqlalchemy, listing = [], []
    for _ in range(5):
        sqlalchemy.append(_processor_seconds("import sqlalchemy.orm"))
        listing.append(_processor_seconds(PROGRAM, *words))

    assert min(listing) <= 1.3 * median(sqlalchemy) + 0.05
