"""The kernels under compute-sanitizer: no access outside of what was allocated, no race."""

import os
import shutil
import subprocess
import sys

import pytest

from editvec.cuda_ext.dispatch import kernels_are_available
from tests.support.places import ROOT

# Small, because the sanitizer makes everything slow; sizes that fill no block and no tile.
PROGRAM = """
import torch
from tests.support.kernel_cases import *
from editvec.cuda_ext.loader import load_extension
load_extension()
for layout in LAYOUTS:
    for dtype in (torch.float16, torch.float32):
        options = {"dtype": dtype, "layout": layout, "device": "cuda"}
        check_bias_act((2, 3, 5, 7), BIAS_ACT_SETTINGS[1], with_noise=True, **options)
        for settings in UPFIRDN2D_SETTINGS[:6]:
            check_upfirdn2d((2, 3, 9, 7), settings, **options)
        for sizes in SEGMENT_GATHER_SIZES[1:4]:
            check_segment_gather(sizes, twice=False, **options)
torch.cuda.synchronize()
"""


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_sanitizer_finds_nothing(tool: str) -> None:
    program = shutil.which("compute-sanitizer")
    if program is None:
        pytest.skip("compute-sanitizer is not installed")
    assert kernels_are_available()

    result = subprocess.run(
        [
            *(program, "--tool", tool, "--error-exitcode", "9", "--report-api-errors", "no"),
            *(sys.executable, "-c", PROGRAM),
        ],
        cwd=ROOT,
        # torch's own pool would hide what lies outside of a tensor
        env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
