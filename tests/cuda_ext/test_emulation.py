"""The arithmetic of the kernels, compiled for the CPU: what needs no GPU to be tested.

The headers that hold it are the ones that nvcc compiles; see tests/support/kernel_emulation.py.
"""

from collections.abc import Iterator

import pytest
import torch

from tests.support.kernel_cases import (
    BIAS_ACT_SETTINGS,
    BIAS_ACT_SHAPES,
    LAYOUTS,
    SEGMENT_GATHER_SIZES,
    TOLERANCES,
    UPFIRDN2D_SETTINGS,
    UPFIRDN2D_SHAPES,
    check_bias_act,
    check_segment_gather,
    check_upfirdn2d,
)
from tests.support.kernel_emulation import COMPILER, CUDA_HEADERS, Emulation, emulated_operators

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
]

HAS_HALF = (CUDA_HEADERS / "cuda_fp16.h").exists()
DTYPES = [
    pytest.param(
        dtype,
        marks=pytest.mark.skipif(
            dtype.itemsize == 2 and not HAS_HALF, reason="CUDA's headers are not installed"
        ),
    )
    for dtype in TOLERANCES
]


@pytest.fixture(scope="module")
def _operators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulation]:
    with emulated_operators(tmp_path_factory.mktemp("emulation")) as emulation:
        yield emulation


@pytest.fixture
def emulation(_operators: Emulation) -> Emulation:
    _operators.reset()
    return _operators


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bias_act_equals_its_reference_to_the_second_derivative(
    emulation: Emulation, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    for wide in (False, True):
        emulation.wide = wide
        for shape in BIAS_ACT_SHAPES:
            for settings in BIAS_ACT_SETTINGS if shape != (4, 7, 33, 31) else BIAS_ACT_SETTINGS[:2]:
                for with_noise in (False, True) if len(shape) == 4 else (False,):
                    check_bias_act(
                        shape,
                        settings,
                        dtype=dtype,
                        layout=layout,
                        device="cpu",
                        with_noise=with_noise,
                    )

    assert {"bias_act", "bias_act_grad"} == set(emulation.calls)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_upfirdn2d_equals_its_reference_to_the_second_derivative(
    emulation: Emulation, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    for wide in (False, True):
        emulation.wide = wide
        for shape in UPFIRDN2D_SHAPES:
            for settings in UPFIRDN2D_SETTINGS:
                check_upfirdn2d(shape, settings, dtype=dtype, layout=layout, device="cpu")

    assert "upfirdn2d" in emulation.calls


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_segment_gather_equals_its_reference(
    emulation: Emulation, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    for sizes in SEGMENT_GATHER_SIZES:
        check_segment_gather(
            sizes, dtype=dtype, layout=layout, device="cpu", twice=dtype.itemsize >= 4
        )

    assert {"segment_gather", "segment_gather_grad"} == set(emulation.calls)


@pytest.mark.parametrize("tile", [4, 8, 16, 32])
@pytest.mark.parametrize(("num_threads", "backwards"), [(256, False), (256, True), (7, True)])
def test_segment_gather_depends_neither_on_tile_nor_on_the_order_of_threads(
    emulation: Emulation, tile: int, num_threads: int, backwards: bool
) -> None:
    emulation.tile, emulation.num_threads, emulation.backwards = tile, num_threads, backwards

    for sizes in SEGMENT_GATHER_SIZES:
        check_segment_gather(
            sizes, dtype=torch.float64, layout=LAYOUTS[0], device="cpu", twice=False
        )
