"""The command for a machine with a GPU: what it says without one, and how it judges kernels."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks.gpu.__main__ import main, verdict, wrong_defaults
from benchmarks.gpu.kernels import format_rows, judge, measure_kernels, time_in_turns
from editvec.cuda_ext.dispatch import OPERATIONS
from tests.support.kernel_emulation import COMPILER, emulated_operators


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_one_line_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--json", str(tmp_path / "found.json")])

    assert result.exit_code == 1
    assert result.output == "benchmarks/gpu: there is no CUDA device here; nothing was run\n"
    assert list(tmp_path.iterdir()) == []


def _rows(ratios: dict[str, list[float]]) -> list[dict[str, object]]:
    return [
        {
            "operation": operation,
            "case": f"case {index}",
            "pass": "forward",
            "kernel_ms": ratio,
            "reference_ms": 1.0,
            "ratio": ratio,
        }
        for operation, values in ratios.items()
        for index, ratio in enumerate(values)
    ]


def test_kernel_beats_its_reference_in_the_mean_and_is_much_slower_nowhere() -> None:
    rows = _rows({"bias_act": [0.5, 1.05], "upfirdn2d": [0.2, 1.2], "segment_gather": [1.0, 1.02]})

    beats = judge(rows)

    assert beats == {"bias_act": True, "upfirdn2d": False, "segment_gather": False}
    assert verdict(beats).endswith("DEFAULT_KERNELS: bias_act")
    assert verdict(dict.fromkeys(OPERATIONS, False)).endswith("DEFAULT_KERNELS: none")
    assert wrong_defaults(beats, frozenset({"bias_act", "upfirdn2d"})) == [
        "upfirdn2d is in DEFAULT_KERNELS and does not beat its reference here"
    ]
    assert wrong_defaults(beats, frozenset()) == []


def test_what_was_not_measured_beats_nothing() -> None:
    assert judge([]) == dict.fromkeys(OPERATIONS, False)


def test_slower_of_two_takes_longer() -> None:
    small, large = torch.ones(10), torch.ones(10**6)

    fast, slow = time_in_turns(small.sum, large.sort, device="cpu", turns=3)

    assert len(fast) == len(slow) == 3
    assert max(fast) < min(slow)


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
def test_every_case_runs_both_ways(tmp_path: Path) -> None:
    with emulated_operators(tmp_path) as emulation:
        rows = measure_kernels("cpu", is_quick=True, turns=1)

        assert set(emulation.calls) >= {*OPERATIONS, "bias_act_grad", "segment_gather_grad"}
    assert {row["operation"] for row in rows} == set(OPERATIONS)
    assert {row["pass"] for row in rows} == {"forward", "backward"}
    assert all(row["ratio"] > 0 for row in rows)
    assert len(format_rows(rows).splitlines()) == len(rows) + 1


@pytest.mark.gpu
@pytest.mark.slow
def test_every_case_runs_on_a_device(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--quick", "--only", "kernels"])

    assert result.exit_code == 0, result.output
    assert "may be DEFAULT_KERNELS" in result.output
