"""How many small wrong changes of the product does a test notice?

    make mutants [SEED=1] [COUNT=40] [PACKAGE='registry sinks'] [AGAIN=1]

Draws COUNT changes at random, evenly over the packages and their modules; makes each in a copy in
build/mutants, and runs the tests of its room there. An interrupted sample is gone on with;
AGAIN=1 tries what survived once more, with the tests as they are now. A sample belongs to the
sources that it was drawn from: when they change, the same seed draws anew.
"""

import hashlib
import uuid
from collections import defaultdict
from pathlib import Path

import click
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkItem, WorkResult

from benchmarks.mutants.rooms import PACKAGES, modules_of, package_of
from benchmarks.mutants.sample import draw
from benchmarks.mutants.trials import enter_copy, renew_copy, try_mutant

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "mutants"


@click.command(help="How many small wrong changes of the product does a test notice?")
@click.option("--seed", default=1, show_default=True, help="Of the sample.")
@click.option("--count", default=40, show_default=True, help="How many changes in all.")
@click.option(
    "--package",
    "packages",
    multiple=True,
    type=click.Choice(list(PACKAGES)),
    help="Where to change; repeatable. Default: everywhere.",
)
@click.option("--again", is_flag=True, help="Try what survived once more.")
@click.option(
    "--timeout", default=420.0, show_default=True, help="Seconds for the tests of one change."
)
def main(seed: int, count: int, packages: tuple[str, ...], again: bool, timeout: float) -> None:
    """Draw a sample or go on with one, try what is untried, and print what survived."""
    packages = packages or tuple(PACKAGES)
    copy = WORK / "copy"
    renew_copy(ROOT, copy)
    enter_copy(copy)
    name = "-".join([*packages, str(count), str(seed), _digest(packages, copy)])
    with use_db(WORK / f"{name}.sqlite", WorkDB.Mode.create) as database:
        if not database.num_work_items:
            database.add_work_items(_items(packages, count, seed, copy))
        untried = {item.job_id for item in database.pending_work_items}
        if again:
            untried |= {item.job_id for item, result in _results(database) if _survived(result)}
        for item in database.work_items:
            if item.job_id in untried:
                result = try_mutant(item, timeout_seconds=timeout)
                database.set_result(item.job_id, result)
                click.echo(f"{_word(result):9} {_place(item)}", err=True)
        _print_results(_results(database))


def _digest(packages: tuple[str, ...], root: Path) -> str:
    """Of the sources: a change is found again by its place in them."""
    digest = hashlib.sha256()
    for module in (module for package in packages for module in modules_of(package, root)):
        digest.update((root / module).read_bytes())
    return digest.hexdigest()[:8]


def _items(packages: tuple[str, ...], count: int, seed: int, root: Path) -> list[WorkItem]:
    return [
        WorkItem.single(
            uuid.uuid4().hex,
            MutationSpec(
                module_path=module,
                operator_name=change.operator,
                occurrence=change.occurrence,
                start_pos=change.start,
                end_pos=change.end,
            ),
        )
        for module, change in draw(packages, count=count, seed=seed, root=root)
    ]


def _results(database: WorkDB) -> list[tuple[WorkItem, WorkResult]]:
    return sorted(database.completed_work_items, key=lambda pair: _place(pair[0]))


def _survived(result: WorkResult) -> bool:
    return bool(result.test_outcome == TestOutcome.SURVIVED)


def _word(result: WorkResult) -> str:
    if result.output == "timeout":
        return "timeout"
    words = {TestOutcome.SURVIVED: "survived", TestOutcome.KILLED: "caught"}
    return words.get(result.test_outcome, "not tried")


def _place(item: WorkItem) -> str:
    (mutation,) = item.mutations
    name = mutation.operator_name.split("/")[1]
    return f"{mutation.module_path}:{mutation.start_pos[0]} {name}"


def _print_results(results: list[tuple[WorkItem, WorkResult]]) -> None:
    words = defaultdict(list)
    for item, result in results:
        words[package_of(item.mutations[0].module_path.as_posix())].append(_word(result))
        if _word(result) in {"survived", "not tried"}:
            click.echo(f"\n{_word(result)}: {_place(item)}")
            click.echo(result.diff if _survived(result) else result.output)
    click.echo(f"\n{'package':10}{'caught':>8}{'timeout':>9}{'survived':>10}{'not tried':>11}")
    for package, found in sorted(words.items()):
        counts = [found.count(word) for word in ("caught", "timeout", "survived", "not tried")]
        # a test that hangs has noticed something, one that is slow has not: timeouts do not count
        share = counts[0] / max(1, counts[0] + counts[2])
        columns = "".join(
            f"{count:{width}}" for count, width in zip(counts, (8, 9, 10, 11), strict=True)
        )
        click.echo(f"{package:10}{columns}{share:8.0%}")


if __name__ == "__main__":
    main()
