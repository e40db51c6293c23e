"""Sixteen processes add and compose while others delete and verify: nothing is lost, none fails."""

from collections import Counter
from multiprocessing.context import ForkServerContext

import pytest

from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.maintenance.verification import verify
from tests.support.registry_processes import add_and_compose, collect_garbage, verify_meanwhile

_WORKERS = 16


def _stress(config: RegistryConfig, processes: ForkServerContext, seconds: float) -> None:
    with processes.Pool(_WORKERS + 2) as pool:
        collecting = pool.apply_async(collect_garbage, (config, seconds))
        verifying = pool.apply_async(verify_meanwhile, (config, seconds))
        working = [
            pool.apply_async(add_and_compose, (config, worker, seconds))
            for worker in range(_WORKERS)
        ]
        done: Counter[str] = sum((one.get() for one in working), Counter())
        collected = collecting.get()
        faults = verifying.get()

    with Library.open(config) as library:
        report = verify(library)
        versions: dict[str, list[int]] = {}
        for vector in library.find_vectors():
            versions.setdefault(vector.name, []).append(vector.version)
    assert faults == []
    assert report.faults == ()
    assert done["rounds"] >= _WORKERS
    assert collected["deleted"] > 0
    assert len(versions) == _WORKERS + 2
    for found in versions.values():
        assert found == list(range(1, len(found) + 1))


def test_processes_add_compose_and_delete_at_once(
    sqlite_library: Library, processes: ForkServerContext
) -> None:
    _stress(sqlite_library.config, processes, seconds=4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_processes_add_compose_and_delete_for_a_minute(
    library: Library, processes: ForkServerContext
) -> None:
    _stress(library.config, processes, seconds=60)
