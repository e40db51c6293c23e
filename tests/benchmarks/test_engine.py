"""The engine's benchmark: it runs, both ways agree, and the guard tells what became slower."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.engine import naive
from benchmarks.engine.__main__ import main, slower_than_stored
from benchmarks.engine.meters import count_effort
from benchmarks.engine.workloads import Workload, differences

SMALL = {"resolution": 16, "members": 3, "labels": 5, "is_small": True}


@pytest.fixture(scope="module")
def two_images() -> Workload:
    return Workload(**SMALL, images=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", Workload.names())
def test_both_ways_compute_the_same(two_images: Workload, name: str) -> None:
    task = two_images.task(name)

    of_values, of_labels = differences(task.ours(), task.naive())

    assert of_values < 1e-4
    assert of_labels < 1e-2  # of 512 pixels


def test_naive_features_are_as_many_and_as_large_as_published() -> None:
    maps = [torch.rand(1, channels, size, size) for channels, size in ((5, 4), (3, 8), (2, 16))]

    whole = naive.full_features(maps)

    assert whole.shape == (10, 16, 16)
    torch.testing.assert_close(whole[8:], maps[2][0])


def test_operations_are_counted_with_their_traffic() -> None:
    a, b = torch.ones(3, 4), torch.ones(4, 5)

    result, effort = count_effort(lambda: (a @ b).t())

    assert result.shape == (5, 3)
    assert effort.flop == 2 * 3 * 4 * 5
    assert effort.bytes == 4 * (12 + 20 + 15)


def test_products_in_place_count_as_others() -> None:
    a, b = torch.ones(3, 3), torch.ones(2, 3, 3)

    assert count_effort(lambda: a.clone().addmm_(a, a))[1].flop == 2 * 3**3
    assert count_effort(lambda: b.clone().baddbmm_(b, b))[1].flop == 2 * 2 * 3**3
    assert count_effort(lambda: torch.mm(a, a, out=a.clone()))[1].flop == 2 * 3**3


def test_inference_counts_as_the_same_operations() -> None:
    layer, x = torch.nn.Linear(4, 5), torch.ones(3, 4)

    @torch.inference_mode()
    def inferred() -> Tensor:
        result: Tensor = layer(x)
        return result

    assert count_effort(inferred)[1].flop == count_effort(lambda: layer(x))[1].flop == 120


def test_quick_writes_all_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"

    main(["--quick", "--only", "image and mask", "--json", str(file)], standalone_mode=False)

    (task,) = json.loads(file.read_text())["tasks"].values()
    assert task["ours"]["gflop"] < task["naive"]["gflop"]
    assert task["ours"]["peak_mib"] >= 0
    assert task["processor_ratio"]["median"] > 0
    assert "naive / ours" in capsys.readouterr().out


def test_guard_fails_where_a_ratio_fell(tmp_path: Path) -> None:
    file = tmp_path / "ratios.json"
    settings = {"resolution": 16, "members": 2, "labels": 4, "images": 1, "device": "cpu"}
    file.write_text(json.dumps({"settings": settings, "ratios": {"encoder": 1e6}}))

    with pytest.raises(SystemExit, match=r"encoder: ratio .*, stored 1000000"):
        main(["--quick", "--guard", str(file)], standalone_mode=False)


def test_guard_allows_a_quarter_less() -> None:
    assert slower_than_stored({"a": 3.1, "b": 2.9}, {"a": 4.0, "b": 4.0}) == [
        "b: ratio 2.90, stored 4.00"
    ]
