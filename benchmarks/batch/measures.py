"""Measures runs; started by benchmarks/batch."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.batch.claims import PROCESSES, measure_claims
from benchmarks.batch.rates import measure_rates
from benchmarks.batch.scale import measure_scale
from editvec.registry.text_tables import format_table

PARTS = ("rates", "claims", "scale")
# the first one tells what a command takes whatever the run
SIZES = (100, 10_000, 100_000, 1_000_000)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part")
    parser.add_argument("--count", type=int, default=256, help="inputs of a run that is timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=1000, help="of a run that is only claimed")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="items of runs")
    parser.add_argument("--no-celery", action="store_true", help="start no workers")
    parser.add_argument("--device", default="cpu", help="of rates; workers stay on the CPU")
    parser.add_argument("--postgresql", metavar="URL")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for libraries and images")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="everything once, with few images")
    options = parser.parse_args(arguments)
    if options.quick:
        options.count, options.repeats, options.chunks = 4, 1, 16
        options.sizes, options.no_celery = [50], True
    found = measure(options, options.only or PARTS)
    print(report(found))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2))


def measure(options: argparse.Namespace, parts: Iterable[str]) -> dict[str, Any]:
    """The chosen parts, one after the other."""
    found: dict[str, Any] = {}
    with TemporaryDirectory(prefix="editvec-benchmark-", dir=options.work) as folder:
        root = Path(folder)
        for part in parts:
            if part == "rates":
                _tell("images per second")
                found[part] = measure_rates(
                    root / part,
                    count=options.count,
                    repeats=options.repeats,
                    with_celery=not options.no_celery,
                    device=options.device,
                )
            elif part == "claims":
                _tell("claims")
                found[part] = measure_claims(
                    root / part,
                    chunks=options.chunks,
                    repeats=options.repeats,
                    server=options.postgresql,
                )
            else:
                found[part] = {}
                for size in options.sizes:
                    _tell(f"{size:,} items")
                    found[part][size] = measure_scale(root / f"{size}", size)
    return found


def report(found: Mapping[str, Any]) -> str:
    """A table for each part."""
    tables = []
    for mode, ways in found.get("rates", {}).items():
        rows = [
            [
                name,
                _spread(figures["images_per_second"]),
                _spread(figures["of_the_bare_loop"], digits=2),
                _spread(figures["start_seconds"]),
                _spread(figures["end_seconds"]),
            ]
            for name, figures in ways.items()
        ]
        headers = [mode, "images/s", "of the bare loop", "s before", "s after"]
        tables.append(format_table(headers, rows))
    if "claims" in found:
        rows = [
            [
                name,
                _spread(figures["leases_per_second"], digits=0),
                _spread(figures["items_per_second"], digits=0),
            ]
            for name, figures in found["claims"].items()
        ]
        headers = [f"{PROCESSES} processes", "leases/s", "items/s"]
        tables.append(format_table(headers, rows))
    if sizes := found.get("scale"):
        commands = next(iter(sizes.values()))
        rows = [[name, *(_cost(sizes[size][name]) for size in sizes)] for name in commands]
        tables.append(format_table(["s, MiB", *(f"{size:,}" for size in sizes)], rows))
    return "\n\n".join(tables)


def _spread(figures: Mapping[str, float], *, digits: int = 1) -> str:
    median, low, high = (f"{figures[name]:.{digits}f}" for name in ("median", "min", "max"))
    return f"{median} ({low}-{high})"


def _cost(figures: Mapping[str, float]) -> str:
    return f"{figures['seconds']:.1f} s, {figures['peak_mib']:.0f} MiB"


def _tell(what: str) -> None:
    print(what, file=sys.stderr)
