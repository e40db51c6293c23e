"""Everything that needs a GPU, in one command: correctness, kernels, engine and runs.

    python -m benchmarks.gpu [--quick] [--only PART] [--json FILE]

    tests     pytest -m gpu: kernels against references, values and derivatives; compute-sanitizer
    kernels   each kernel against its reference, in turns; says which ones should be the default
    engine    benchmarks/engine on the device, without kernels and with all of them
    batch     benchmarks/batch: images per second of a run beside a bare loop

Ends with status 1 where there is no CUDA device, where a part fails, and where a kernel is a
default (cuda_ext/dispatch.py) that does not beat its reference here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch

from benchmarks.gpu.kernels import format_rows, judge, measure_kernels
from editvec.cuda_ext.dispatch import DEFAULT_KERNELS, OPERATIONS, VARIABLE
from editvec.cuda_ext.loader import load_extension

ROOT = Path(__file__).parents[2]
PARTS = ("tests", "kernels", "engine", "batch")


@click.command()
@click.option("--only", "parts", type=click.Choice(PARTS), multiple=True, help="[default: all]")
@click.option("--quick", "is_quick", is_flag=True, help="Everything once, with little.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here."
)
def main(*, parts: tuple[str, ...], is_quick: bool, json_file: Path | None) -> None:
    """Check and measure on this machine's CUDA device."""
    if not torch.cuda.is_available():
        click.echo("benchmarks/gpu: there is no CUDA device here; nothing was run", err=True)
        raise SystemExit(1)
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "kernels_version": load_extension(),
    }
    click.echo(f"{found['device']}, torch {found['torch']}, {found['kernels_version']}")
    failures: list[str] = []
    for part in parts or PARTS:
        click.echo(f"== {part}")
        found[part] = RUNNERS[part](is_quick=is_quick, failures=failures)
        if json_file is not None:
            json_file.write_text(json.dumps(found, indent=2))
    for failure in failures:
        click.echo(f"failed: {failure}")
    raise SystemExit(1 if failures else 0)


def run_tests(*, is_quick: bool, failures: list[str]) -> dict[str, Any]:
    """The tests that are marked `gpu`, the slow ones of them only without `is_quick`."""
    marks = "gpu and not slow" if is_quick else "gpu"
    status = _run([sys.executable, "-m", "pytest", "-q", "-m", marks, "tests"])
    if status != 0:
        failures.append(f"pytest -m '{marks}' ended with {status}")
    return {"status": status}


def run_kernels(*, is_quick: bool, failures: list[str]) -> dict[str, Any]:
    """Each kernel against its reference."""
    rows = measure_kernels("cuda", is_quick=is_quick)
    beats = judge(rows)
    click.echo(format_rows(rows))
    click.echo(verdict(beats))
    failures.extend(wrong_defaults(beats, DEFAULT_KERNELS) if not is_quick else [])
    return {"rows": rows, "beats": beats}


def verdict(beats: dict[str, bool]) -> str:
    """One line: which kernels should be the default on what was measured."""
    names = [name for name in OPERATIONS if beats[name]]
    return f"beat their references, and may be DEFAULT_KERNELS: {', '.join(names) or 'none'}"


def wrong_defaults(beats: dict[str, bool], defaults: frozenset[str]) -> list[str]:
    """Defaults that do not beat their references, in words."""
    return [
        f"{name} is in DEFAULT_KERNELS and does not beat its reference here"
        for name in OPERATIONS
        if name in defaults and not beats[name]
    ]


def run_engine(*, is_quick: bool, failures: list[str]) -> dict[str, Any]:
    """The engine's tasks, without kernels and with all of them."""
    found = {}
    for choice in ("none", "all"):
        click.echo(f"-- {VARIABLE}={choice}")
        words = [
            "benchmarks.engine",
            "--device",
            "cuda",
            *(["--quick"] if is_quick else []),
        ]
        found[choice] = _run_with_json(words, failures, {VARIABLE: choice})
    return found


def run_batch(*, is_quick: bool, failures: list[str]) -> dict[str, Any]:
    """Images per second of a run, by the kernels that are chosen now."""
    words = ["benchmarks.batch", "--only", "rates", "--no-celery", "--device", "cuda"]
    return _run_with_json([*words, *(["--quick"] if is_quick else [])], failures, {})


def _run_with_json(
    words: Sequence[str], failures: list[str], variables: dict[str, str]
) -> dict[str, Any]:
    """What another benchmark found."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        status = _run([sys.executable, "-m", *words, "--json", str(file)], variables)
        if status != 0 or not file.exists():
            failures.append(f"{' '.join(words)} ended with {status}")
            return {}
        found: dict[str, Any] = json.loads(file.read_text())
        return found


def _run(words: Sequence[str], variables: dict[str, str] | None = None) -> int:
    """Run a program from the repository's root, its output being ours; gives its status."""
    environment = {**os.environ, **(variables or {})}
    return subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode


RUNNERS = {"tests": run_tests, "kernels": run_kernels, "engine": run_engine, "batch": run_batch}


if __name__ == "__main__":
    main()
