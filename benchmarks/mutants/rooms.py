"""Which modules are sampled, and which tests have to notice a change of one."""

import re
from functools import cache
from pathlib import Path

# A name for `--package`, and where its modules lie. What lies in two belongs to the longer path.
PACKAGES = {
    "engine": "engine",
    "registry": "registry",
    "masks": "registry/masks",
    "batch": "batch",
    "sinks": "batch/sinks",
}

TESTED = ("engine", "registry", "batch")
IMPORT = re.compile(r"^\s*(?:from|import) (editvec[\w.]*)", re.MULTILINE)

# Tests that are run beside those of the room itself, for modules whose path begins so.
OTHERS = {
    "batch/chunks": ["tests/batch/execution", "tests/batch/editing", "tests/batch/sinks"],
    "batch/cli/discover": ["tests/batch/discovery"],
    "batch/cli/disentangle": ["tests/batch/evaluation"],
    "batch/cli/embed": ["tests/batch/runs/test_embed_runs.py"],
    "batch/cli/evaluate": ["tests/batch/evaluation"],
    "batch/cli/learn": ["tests/batch/learning"],
    "batch/cli/model": ["tests/batch/quality"],
    "batch/cli/preview": ["tests/batch/previews"],
    "batch/cli/run": ["tests/batch/recipes"],
    "batch/cli/train": ["tests/batch/training"],
    "batch/cli/worker": ["tests/batch/workers"],
    "batch/cli/": ["tests/test_editvec.py"],
    "batch/editing": ["tests/batch/recipes"],
    "batch/embedding": ["tests/batch/runs/test_embed_runs.py"],
    "batch/runs": ["tests/batch/execution", "tests/batch/chunks"],
    "batch/sinks": ["tests/batch/reports/test_audit.py"],
    "engine/bundle": ["tests/engine/test_editor.py"],
    "registry/masks": ["tests/registry/masks", "tests/registry/cli/test_mask.py"],
    "registry/masks/forms/run_lengths": ["tests/batch/sinks/test_coco_parts.py"],
    "registry/tables": ["tests/registry/library/test_library.py"],
}


def modules_of(package: str, root: Path) -> list[str]:
    """The modules of a package that hold more than a docstring, in order of their paths.

    Args:
        package: a name of `PACKAGES`.
        root: folder of the checkout.
    """
    folder = PACKAGES[package]
    inner = [other for other in PACKAGES.values() if other.startswith(f"{folder}/")]
    paths = [path.relative_to(root).as_posix() for path in (root / folder).rglob("*.py")]
    return sorted(
        path
        for path in paths
        if not path.endswith("/__init__.py") and not path.startswith(tuple(f"{i}/" for i in inner))
    )


def package_of(module: str) -> str:
    """The name in `PACKAGES` that a module belongs to."""
    fitting = [name for name, folder in PACKAGES.items() if module.startswith(f"{folder}/")]
    return max(fitting, key=lambda name: len(PACKAGES[name]))


def chosen_tests(module: str, root: Path) -> list[str]:
    """Files of tests that have to notice a change of a module, the nearest first.

    The file of the same name comes first, then those that import the module, those of its room (or
    of the nearest room above it that has tests), and `OTHERS`.

    Args:
        module: its path below `root`.
        root: folder of the checkout.
    """
    path = Path(module)
    room = root / "tests" / path.parent
    while not list(room.glob("test_*.py")):
        room = room.parent
    name = f"editvec.{'.'.join(path.with_suffix('').parts)}"
    others = [
        root / other
        for start, tests in OTHERS.items()
        if module.startswith(start)
        for other in tests
    ]
    chosen = [
        *sorted(room.rglob(f"test_{path.stem}*.py")),
        *(test for test, imported in _imports(root).items() if name in imported),
        *(sorted(room.glob("test_*.py")) if room.parent.name == "tests" else _tests_in(room)),
        *(test for other in others for test in _tests_in(other)),
    ]
    return list(dict.fromkeys(test.relative_to(root).as_posix() for test in chosen))


@cache
def _imports(root: Path) -> dict[Path, set[str]]:
    """The modules of ours that each test file imports from."""
    tests = [test for top in TESTED for test in _tests_in(root / "tests" / top)]
    return {test: set(IMPORT.findall(test.read_text())) for test in tests}


def _tests_in(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("test_*.py"))
