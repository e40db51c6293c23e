"""What commands about runs print while they work: when, and in which words."""

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from editvec.batch.cli.output import ProgressLine, describe, duration, listed, stage_progress
from editvec.batch.execution.local import Progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (190, "3 min 10 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (7530, "2 h 5 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_times_are_told_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def at(finished: int, total: int, left: float | None = None, rate: float = 0.0) -> Progress:
    given = {"finished": finished, "total": total, "seconds_left": left, "rate": rate}
    return cast(Progress, SimpleNamespace(**given))


def test_progress_is_told_with_its_rate_where_it_is_known() -> None:
    assert describe(at(120, 480)) == "120/480 items (25%)"
    assert describe(at(120, 480, 10.2, 35.123)) == "120/480 items (25%), 35.1 items/s, 10 s left"
    assert describe(at(0, 0)) == "0/0 items (100%)"
    assert describe(at(1, 2, 0.0, 1.0)) == "1/2 items (50%), 1 items/s, 0 s left"


def test_counts_are_listed() -> None:
    assert listed({"done": 3, "failed": 1}) == "3 done, 1 failed"
    assert listed({}) == "none decided"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


def _show_line(clock: Any) -> Callable[[int], None]:
    line = ProgressLine()
    return lambda done: line.show(at(done, 4))


def _show_stage(clock: Any) -> Callable[[int], None]:
    show = stage_progress("embed")
    return lambda done: show("images", done, 4)


@pytest.mark.parametrize("make", [_show_line, _show_stage])
def test_a_log_gets_a_line_every_ten_seconds(
    make: Callable[[Any], Callable[[int], None]], clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    show = make(clock)

    for seconds, done in ((9.9, 1), (0.2, 2), (9.8, 3), (0.1, 4)):
        clock.seconds += seconds
        show(done)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "2/4" in lines[0]
    clock.seconds += 10
    show(4)
    assert "4/4" in capsys.readouterr().err


@pytest.mark.parametrize("make", [_show_line, _show_stage])
def test_a_terminal_gets_a_line_that_moves_and_always_the_last_one(
    make: Callable[[Any], Callable[[int], None]],
    clock: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show = make(clock)

    for seconds, done in ((0.3, 1), (0.1, 2), (0.15, 3), (0.01, 4)):
        clock.seconds += seconds
        show(done)

    shown = capsys.readouterr().err.split("\r\x1b[K")[1:]
    assert ["1/4" in shown[0], "3/4" in shown[1]] == [True, True]
    assert len(shown) == 3
    # a stage that is over takes its line away
    assert ("4/4" in shown[2]) == (make is _show_line)


def test_the_line_ends_when_something_was_shown(
    clock: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProgressLine():
        pass
    assert capsys.readouterr().err == ""

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with ProgressLine() as line:
        line.show(at(4, 4))
    assert capsys.readouterr().err.endswith("\n")
