"""The numbers of a report: exact where they are few, bounded in memory where they are many."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert

from editvec.batch.reports.rows import ReportRows
from editvec.batch.reports.tally import (
    MAX_COMBINATIONS,
    MAX_REASONS,
    MAX_SCALES,
    OTHER_REASONS,
    SAMPLE_SIZE,
    Distribution,
    Lowest,
    RunTally,
    leakage_of,
)
from editvec.batch.runs.models import RunInput, RunItem
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.batch.sinks.opening import open_sink
from editvec.registry.library.library import Library
from editvec.registry.tables.database import now, transaction
from tests.support.folder_runs import request


def many_rows(count: int) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(0)
    for position in range(count):
        yield {
            "position": position,
            "recipe": f"recipe {position % 3}",
            "state": "failed" if position % 10 == 0 else "done",
            "reason": f"{'x' * (position % 97)} broke at byte {position}",
            "metrics": {"leakage": {"psnr": random.normal(30, 5), "lpips": random.random()}},
            "attributes": {"smile": random.random(), "look": float(position % 2)},
        }


def test_quantiles_of_few_numbers_are_exact() -> None:
    values = np.random.default_rng(0).normal(size=SAMPLE_SIZE)
    made = Distribution()
    for value in values:
        made.add(float(value))

    shares = [0.05, 0.5, 0.95]
    assert made.quantiles(shares) == pytest.approx(np.quantile(values, shares))
    assert (made.count, made.low, made.high) == (SAMPLE_SIZE, values.min(), values.max())
    assert not made.is_sampled
    assert made.bars(-1, 1, bins=4) == np.histogram(values.clip(-1, 1), 4, (-1, 1))[0].tolist()


def test_quantiles_of_many_numbers_are_near_and_the_same_each_time() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=50_000))
    made, again = Distribution(), Distribution()
    for value in values.tolist():  # sorted: a sample of the first ones would be far off
        made.add(value)
        again.add(value)

    assert (made.count, made.low, made.high) == (50_000, values[0], values[-1])
    found = made.quantiles([0.05, 0.5, 0.95])
    assert np.searchsorted(values, found) / 50_000 == pytest.approx([0.05, 0.5, 0.95], abs=0.03)
    assert again.quantiles([0.05, 0.5, 0.95]) == found


def test_memory_does_not_grow_with_the_rows() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        tally = RunTally(samples_per_recipe=9)
        tally.add_all(many_rows(count))
        assert sum(tally.state(name) for name in ("done", "failed")) == count
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(24_000) < peak(8_000) + 300_000 < 4_000_000


def test_rows_stream_from_the_library(library: Library, make_pictures: Any, tmp_path: Any) -> None:
    run = open_run(library, request(make_pictures(1), tmp_path / "out", "smile=uniform(0,1)")).run
    count = 10_000
    inputs = [
        {
            "run_id": run.id,
            "position": position,
            "relative_path": f"{position}.png",
            "relative_path_bytes": b"%d.png" % position,
            "output_name": str(position),
        }
        for position in range(1, count)
    ]
    items = [
        {
            "run_id": run.id,
            "position": position,
            "recipe_position": 0,
            "state": "done",
            "metrics": {"leakage": {"psnr": position / count}},
            "finished_at": now(),
        }
        for position in range(count)
    ]
    with transaction(library.engine) as session:
        session.execute(insert(RunInput), inputs)
        session.execute(insert(RunItem), items)
    del inputs, items
    runs = Runs(library.engine)
    sink = open_sink(run, library.get_class(run.plan.class_address).labels, writer_name="w")

    tally = RunTally(samples_per_recipe=9)
    tracemalloc.start()
    tally.add_all(ReportRows(runs, run, sink))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert tally.state("done") == count
    assert used < 5_000_000  # all rows at once take several times that
    drawn = tally.attributes["smile"].spread
    assert drawn.quantiles([0.25, 0.75]) == pytest.approx([0.25, 0.75], abs=0.05)


def test_what_is_shown_is_spread_and_not_tied_to_what_is_drawn() -> None:
    tally = RunTally(samples_per_recipe=60)
    tally.add_all(many_rows(3_000))

    shown = tally.recipes["recipe 1"].spread.rows()

    assert len(shown) == 60
    assert 15 < sum(row["attributes"]["look"] for row in shown) < 45
    counts = np.histogram([row["position"] for row in shown], 4, (0, 3_000))[0]
    assert counts.min() > 5
    again = RunTally(samples_per_recipe=60)
    again.add_all(many_rows(3_000))
    assert again.recipes["recipe 1"].spread.rows() == shown


def test_the_worst_and_the_best_are_known() -> None:
    rows = list(many_rows(3_000))
    tally = RunTally(samples_per_recipe=9)
    tally.add_all(rows)

    mine = [row for row in rows if row["recipe"] == "recipe 2" and row["state"] == "done"]
    mine.sort(key=lambda row: row["metrics"]["leakage"]["lpips"])
    assert tally.recipes["recipe 2"].best.rows() == mine[:3]
    assert tally.recipes["recipe 2"].worst.rows() == mine[:-4:-1]


def test_without_a_distance_the_psnr_says_what_leaks() -> None:
    assert leakage_of({"metrics": {"leakage": {"psnr": 30.0}}}) == -30.0
    assert leakage_of({"metrics": {"leakage": {"psnr": 30.0, "perceptual/a": 0.5}}}) == 0.5
    assert leakage_of({"metrics": {"leakage": {"psnr": None}}}) is None
    assert leakage_of({"metrics": None}) is None


def test_combinations_of_attributes_are_counted() -> None:
    tally = RunTally(samples_per_recipe=1)
    for smile, look in ((0.0, 0.0), (1.0, 0.0), (0.5, -1.0), (1.0, 0.0)):
        tally.add({"recipe": "a", "attributes": {"smile": smile, "look": look}})

    assert tally.combinations == {(): 1, ("smile",): 2, ("smile", "look"): 1}
    assert tally.attributes["smile"].scales == {0.0: 1, 0.5: 1, 1.0: 2}


def test_reasons_leave_out_numbers_and_the_name_of_the_input() -> None:
    tally = RunTally(samples_per_recipe=1)
    for name in ("a/b 1.png", "c.png"):
        reason = f"/photos/{name}: cannot be decoded: stops at byte 12.5"
        tally.add({"recipe": "r", "state": "failed", "source": name, "reason": reason})

    (reason,) = tally.reasons()
    assert (reason.reason, reason.count) == ("cannot be decoded: stops at byte #", 2)


def test_there_is_an_end_to_different_reasons() -> None:
    tally = RunTally(samples_per_recipe=1)
    for number in range(MAX_REASONS + 50):
        reason = "no" + "x" * number
        tally.add({"recipe": "r", "state": "failed", "source": str(number), "reason": reason})

    assert tally.reasons()[0].reason == OTHER_REASONS
    assert tally.reasons()[0].count == 50


def test_the_lowest_ranks_stay_and_the_first_of_equals() -> None:
    lowest = Lowest(2)
    for rank, name in ((3.0, "a"), (1.0, "b"), (2.0, "c"), (1.0, "d"), (1.0, "e")):
        lowest.add(rank, {"name": name})

    assert [row["name"] for row in lowest.rows()] == ["b", "d"]
    assert [row["name"] for row in lowest.rows(1)] == ["b"]
    none = Lowest(0)
    none.add(1.0, {})
    assert none.rows() == []


@pytest.mark.parametrize(("count", "is_listed"), [(MAX_SCALES, True), (MAX_SCALES + 1, False)])
def test_scales_are_listed_up_to_a_number(count: int, is_listed: bool) -> None:
    tally = RunTally(samples_per_recipe=1)
    for number in range(count):
        tally.add({"recipe": "a", "attributes": {"smile": float(number)}})

    told = tally.to_json()["attributes"]["smile"]
    assert told["scales"] == ([[float(n), 1] for n in range(count)] if is_listed else None)
    assert (told["count"], told["low"], told["high"]) == (count, 0.0, count - 1.0)
    assert told["median"] == (count - 1) / 2


def test_known_combinations_are_counted_on_when_there_is_no_room_for_new_ones() -> None:
    tally = RunTally(samples_per_recipe=1)
    for number in [*range(MAX_COMBINATIONS + 2), 0]:
        tally.add({"recipe": "a", "attributes": {f"v{number}": 1.0}})

    assert len(tally.combinations) == MAX_COMBINATIONS
    assert tally.combinations["v0",] == 2
    assert (f"v{MAX_COMBINATIONS}",) not in tally.combinations


def test_states_are_counted_and_only_what_gave_no_image_has_a_reason() -> None:
    tally = RunTally(samples_per_recipe=1)
    for state in ("done", "failed", "rejected", "cancelled", "quarantined", "failed"):
        tally.add({"recipe": "a", "state": state, "reason": "torn"})

    assert tally.recipes["a"].count == 1
    assert [tally.state(name) for name in ("failed", "cancelled", "new")] == [2, 1, 0]
    assert [(one.state, one.count) for one in tally.reasons()] == [
        ("failed", 2), ("quarantined", 1), ("rejected", 1),
    ]  # fmt: skip
    assert tally.to_json()["reasons"][0] == {"state": "failed", "reason": "torn", "count": 2}


def test_rows_that_met_and_missed_their_masks_are_known() -> None:
    tally = RunTally(samples_per_recipe=1)
    for number in range(9):
        tally.add({"recipe": "a", "metrics": {"success_iou": number / 10}})
    tally.add({"recipe": "a", "metrics": {"success_iou": None}})

    found = tally.recipes["a"]
    assert [row["metrics"]["success_iou"] for row in found.met.rows()] == [0.8, 0.7, 0.6]
    assert [row["metrics"]["success_iou"] for row in found.missed.rows()] == [0.0, 0.1, 0.2]


def test_equal_numbers_are_constant() -> None:
    made = Distribution()
    made.add(2.0)
    made.add(2.0)
    assert made.is_constant
    made.add(2.5)
    assert not made.is_constant
