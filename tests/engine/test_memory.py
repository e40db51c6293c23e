"""How much memory images take against what they take, and what is free."""

import subprocess
import sys
from pathlib import Path

import pytest

from editvec.engine.memory import Demand, _available, _left_to_container, free_bytes, image_bytes
from editvec.engine.networks.config import GeneratorConfig
from tests.support.places import ROOT

# Peak memory of a step on N images in a process of its own, which is not the first step.
_PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from benchmarks.engine import workloads as engine_workloads
from benchmarks.engine.meters import peak_memory
from editvec.engine.networks.config import GeneratorConfig

engine_workloads.GeneratorConfig = lambda size, **given: GeneratorConfig(
    size, **given | {{"channel_base": {base}}}
)
workload = engine_workloads.Workload(
    resolution=128, members=3, labels=8, images={count}, is_small=False
)
print(peak_memory(workload.task({task!r}).ours, "cpu"))
"""


def test_an_image_takes_more_the_larger_it_is_and_the_more_is_done() -> None:
    small, large = (GeneratorConfig(resolution=size) for size in (128, 256))

    sizes = [image_bytes(large, demand) for demand in Demand]

    assert sizes == sorted(sizes)
    assert image_bytes(small, Demand.EDITING) < image_bytes(large, Demand.EDITING)
    assert image_bytes(large, Demand.EDITING, element_size=2) == sizes[-1] // 2


@pytest.mark.slow
@pytest.mark.parametrize("base", [32768, 4096])  # config-f, and as narrow as it is at 1024 pixels
@pytest.mark.parametrize(
    ("task", "demand", "count"),
    [
        ("learning step, ROI 40%", Demand.EDITING, 1),
        ("learning step, ROI 40%", Demand.EDITING, 3),
        ("embedding step", Demand.EMBEDDING, 3),
    ],
)
def test_a_step_takes_no_more_than_is_said(
    task: str, demand: Demand, count: int, base: int
) -> None:
    root = str(ROOT)
    program = _PROGRAM.format(root=root, task=task, count=count, base=base)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    said = count * image_bytes(GeneratorConfig(resolution=128, channel_base=base), demand)
    assert said / 3 < int(done.stdout) < said


def test_free_memory_of_this_machine_is_a_positive_number() -> None:
    free = free_bytes("cpu")

    assert free is None or free > 2**20


def test_a_system_without_the_files_tells_nothing(tmp_path: Path) -> None:
    assert _available(tmp_path / "meminfo") is None
    assert _left_to_container(tmp_path) is None


def test_the_limit_of_a_container_counts_without_its_cache(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 400\ninactive_file 250\n")
    assert _left_to_container(tmp_path) == 550

    (tmp_path / "memory.max").write_text("max\n")
    assert _left_to_container(tmp_path) is None
