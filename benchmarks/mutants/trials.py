"""A trial: does a test notice that one module is wrong? In a copy; the checkout stays as it is."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.testing import run_tests
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

from benchmarks.mutants.rooms import chosen_tests

PYTEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
MARKS = "not slow and not gpu and not services"
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


def renew_copy(root: Path, copy: Path) -> None:
    """Copy the files of the checkout that git knows or would take.

    Args:
        root: folder of the checkout.
        copy: the copy; what lay there before is removed.
    """
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout
    shutil.rmtree(copy, ignore_errors=True)
    for name in filter(None, names.split("\0")):
        source, target = root / name, copy / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    # loaded from caches that follow what a file says, not when it was written
    caches = ["-q", "--invalidation-mode", "checked-hash", str(copy / "editvec")]
    subprocess.run([sys.executable, "-m", "compileall", *caches], check=True)


def enter_copy(copy: Path) -> None:
    """Have this process, and what it starts, work in the copy and import from it."""
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)


def try_mutant(item: WorkItem, *, timeout_seconds: float) -> WorkResult:
    """Run the tests of one mutant in the current folder.

    A test that fails without the change too says nothing: the mutant then counts as not tried.

    Args:
        item: the change.
        timeout_seconds: tests that take longer are ended; what they would say is not known.
    """
    (mutation,) = item.mutations
    files = chosen_tests(mutation.module_path.as_posix(), Path.cwd())
    result: WorkResult = mutate_and_test([mutation], _command(files), timeout_seconds)
    if result.test_outcome != TestOutcome.KILLED or result.output == "timeout":
        return result
    failed = FAILED.search(result.output or "")
    if failed is None:
        return _not_tried(mutation, result)
    outcome, _ = run_tests(_command([failed[1]]), timeout_seconds)
    return result if outcome == TestOutcome.SURVIVED else _not_tried(mutation, result)


def _command(tests: list[str]) -> str:
    return shlex.join([*PYTEST, "-m", MARKS, *tests])


def _not_tried(mutation: MutationSpec, result: WorkResult) -> WorkResult:
    output = f"the tests of {mutation.module_path} fail without the change:\n{result.output}"
    return WorkResult(WorkerOutcome.ABNORMAL, output, TestOutcome.INCOMPETENT, result.diff)
