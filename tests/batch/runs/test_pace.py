"""Sizes of chunks and limits of messages: guessed from the plan, then measured."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvec.batch.recipes.recipe import Recipe
from editvec.batch.recipes.settings import MAX_STEPS, Mode, Output, RunSettings
from editvec.batch.runs.pace import (
    LONGEST_LIMIT_SECONDS,
    SHORTEST_LIMIT_SECONDS,
    Cut,
    Pace,
    limit_seconds,
    may_be_cut,
    planned_chunk_size,
    slow_seconds,
)
from editvec.batch.runs.plan import RunPlan, build_request
from editvec.batch.workers.app import create_app
from editvec.batch.workers.broker import VISIBILITY_SECONDS

# RabbitMQ's `consumer_timeout`, unless an administrator set another one
RABBITMQ_SECONDS = 1800


def plan(*recipes: Recipe, kind: str = "batch", **settings: Any) -> RunPlan:
    chosen = RunSettings(**settings)
    return RunPlan(
        kind=kind,
        class_address="avatars@1",
        generator_digest="1" * 64,
        bundle_digest="2" * 64,
        input_folder=None,
        output_folder=Path("/out"),
        request=build_request("avatars", [], None, chosen),
        recipes=recipes or (Recipe(name="a", edits=()),),
        settings=chosen,
    )


def recipes(count: int, **options: Any) -> tuple[Recipe, ...]:
    return tuple(Recipe(name=f"r{number}", edits=(), **options) for number in range(count))


def optimizing(steps: int = 100, **settings: Any) -> RunPlan:
    masks = {"mode": Mode.OPTIMIZE, "masks_folder": "/masks"}
    return plan(**masks, optimize_steps=steps, **settings)


def warm(pace: Pace, *, inputs: int, seconds: float) -> Pace:
    """A pace after a first mini-batch that tells nothing, and a second one."""
    pace.add(1, seconds)
    pace.add(inputs, seconds)
    return pace


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (plan(), 64),
        (plan(*recipes(200)), 11),
        (plan(embed="steps:50"), 29),
        (plan(mode=Mode.REFINE), 64),
        (plan(*recipes(9, mode=Mode.REFINE, refine_steps=100)), 1),
        (optimizing(100), 14),
        (optimizing(10_000), 1),
        (plan(chunk_size=5), 5),
        (optimizing(10_000, chunk_size=64), 64),
        (optimizing(10_000, output=Output.WEBDATASET), 64),
    ],
)
def test_chunks_are_planned_for_a_fast_device(wanted: RunPlan, size: int) -> None:
    assert planned_chunk_size(wanted) == size


def test_only_sizes_that_nobody_chose_may_change() -> None:
    assert may_be_cut(plan())
    assert may_be_cut(plan(output=Output.COCO))
    assert not may_be_cut(plan(chunk_size=64))
    assert not may_be_cut(plan(output=Output.WEBDATASET))


@given(
    embed=st.integers(0, MAX_STEPS),
    steps=st.integers(1, MAX_STEPS),
    mode=st.sampled_from([Mode.VECTOR, Mode.REFINE]),
    count=st.integers(1, 100),
    chunk_size=st.integers(0, 64),
    kind=st.sampled_from(["batch", "generate", "learn", "embed"]),
    resolution=st.sampled_from([32, 512, 1024]),
    attempts=st.integers(0, 3),
)
def test_no_message_may_take_longer_than_a_broker_waits(
    embed: int,
    steps: int,
    mode: Mode,
    count: int,
    chunk_size: int,
    kind: str,
    resolution: int,
    attempts: int,
) -> None:
    text = f"steps:{embed}" if embed else "encoder"
    options: dict[str, Any] = {"mode": mode, "refine_steps": steps, "chunk_size": chunk_size}
    wanted = plan(*recipes(count), kind=kind, embed=text, **options)

    limit = limit_seconds(wanted, resolution=resolution, attempts=attempts)

    assert SHORTEST_LIMIT_SECONDS <= limit <= LONGEST_LIMIT_SECONDS
    assert limit < min(VISIBILITY_SECONDS, RABBITMQ_SECONDS)


@pytest.mark.parametrize("url", ["redis://host/0", "amqp://host"])
def test_the_configuration_lets_nothing_take_longer_than_a_broker_waits(url: str) -> None:
    conf = create_app(url).conf

    assert conf.task_time_limit == LONGEST_LIMIT_SECONDS < RABBITMQ_SECONDS
    if url.startswith("redis"):
        assert conf.broker_transport_options["visibility_timeout"] > conf.task_time_limit
        assert conf.visibility_timeout > conf.task_time_limit


def test_slow_work_is_given_more_time_and_more_at_each_attempt() -> None:
    fast, slow = plan(), optimizing(100)

    assert limit_seconds(fast, resolution=64) == SHORTEST_LIMIT_SECONDS
    assert [limit_seconds(fast, resolution=64, attempts=n) for n in (1, 2, 3)] == [600, 1200, 1500]
    assert limit_seconds(slow, resolution=512) == LONGEST_LIMIT_SECONDS
    assert slow_seconds(slow, resolution=1024) == 4 * slow_seconds(slow, resolution=512)


def test_a_slow_device_begins_with_few_inputs_and_takes_as_many_as_it_can() -> None:
    pace = Pace(optimizing(100), resolution=512, mini_batch=16)

    sizes = [pace.batch_size]
    for seconds in (40.0, 6.0, 0.5):
        pace.add(1, seconds)
        sizes.append(pace.batch_size)

    assert sizes == [1, 1, 3, 16]
    assert Pace(plan(), resolution=64, mini_batch=16).batch_size == 16


def test_a_chunk_within_a_minute_stays_whole() -> None:
    pace = warm(Pace(plan(), resolution=64, mini_batch=16), inputs=16, seconds=16.0)

    assert pace.cut(elapsed=20.0, coming=16, left=24) is None
    assert pace.cut(elapsed=1000.0, coming=16, left=0) is None


def test_a_chunk_beyond_a_minute_ends_near_its_aim_and_the_rest_has_that_size() -> None:
    pace = warm(Pace(plan(), resolution=64, mini_batch=16), inputs=1, seconds=5.0)

    assert pace.cut(elapsed=10.0, coming=1, left=62) == Cut(keep=6, size=9)
    assert pace.cut(elapsed=50.0, coming=1, left=10) == Cut(keep=0, size=9)


def test_one_input_that_takes_longer_than_a_minute_is_a_chunk_of_its_own() -> None:
    pace = warm(Pace(plan(), resolution=64, mini_batch=16), inputs=1, seconds=400.0)

    assert pace.batch_size == 1
    assert pace.cut(elapsed=800.0, coming=1, left=5) == Cut(keep=0, size=1)


def test_a_first_mini_batch_that_only_warmed_the_device_up_chooses_no_sizes() -> None:
    pace = Pace(plan(), resolution=64, mini_batch=16)
    pace.add(1, 50.0)
    assert pace.cut(elapsed=50.0, coming=1, left=62) is None

    pace.add(1, 0.1)

    assert pace.cut(elapsed=50.1, coming=0, left=62) is None
    late = Pace(plan(), resolution=64, mini_batch=16)
    late.add(1, 61.0)
    assert late.cut(elapsed=61.0, coming=1, left=62) == Cut(keep=0, size=62)


def test_a_chunk_of_exactly_a_minute_stays_whole() -> None:
    pace = warm(Pace(plan(), resolution=64, mini_batch=16), inputs=1, seconds=2.0)

    assert pace.cut(elapsed=20.0, coming=4, left=16) is None
    assert pace.cut(elapsed=20.5, coming=4, left=16) == Cut(keep=8, size=22)


def test_a_mini_batch_that_did_not_fit_is_halved_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pace = Pace(plan(), resolution=8, mini_batch=16)

    for inputs in (16, 16, 8, 1):
        pace.did_not_fit(inputs)

    assert pace.batch_size == 1
    sizes = [record.args for record in caplog.records]
    assert sizes == [(16, 8), (8, 4), (1, 1)]


def test_a_mini_batch_takes_the_time_that_it_may() -> None:
    pace = Pace(plan(), resolution=64, mini_batch=16)

    for seconds, size in ((1.25, 16), (1.26, 15), (20.0, 1), (21.0, 1), (10.0, 2)):
        pace.add(1, seconds)
        assert pace.batch_size == size
    pace.add(4, 40.0)
    assert pace.batch_size == 2


def test_synthesis_and_steps_add_up() -> None:
    """Two passes for the embedding, two for each recipe, three for each step; by hand."""
    refining = plan(*recipes(2, mode=Mode.REFINE, refine_steps=7), embed="steps:5")

    assert slow_seconds(plan(), resolution=512) == 4 * 2.5
    assert slow_seconds(plan(*recipes(3)), resolution=256) == 8 * 2.5 / 4
    assert slow_seconds(refining, resolution=512) == (2 + 4 + 3 * (5 + 2 * 7)) * 2.5
    assert slow_seconds(optimizing(10), resolution=512) == (4 + 30) * 2.5


def test_other_kinds_of_runs_have_the_longest_limit() -> None:
    for kind in ("batch", "generate", "embed"):
        assert limit_seconds(plan(kind=kind), resolution=64) == SHORTEST_LIMIT_SECONDS
    for kind in ("learn", "evaluate"):
        assert limit_seconds(plan(kind=kind), resolution=64) == LONGEST_LIMIT_SECONDS
    # a minute, and three times what one input takes on a slow device
    slow = plan(*recipes(49))
    assert limit_seconds(slow, resolution=512) == 60 + 3 * 250
