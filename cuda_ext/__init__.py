"""CUDA operations, each beside the PyTorch reference that defines it.

- `bias_act`: noise per pixel, bias per channel, leaky ReLU, gain and clamp
- `upfirdn2d`: up-sampling, a separable filter and down-sampling: StyleGAN2's blur and its change of
  size
- `segment_gather`: logits of a list of pixels: gathers the projected maps of all sizes, adds them,
  and runs the members' small layers; hidden values of a tile of pixels never leave the chip

An operation is a Python file with the reference, the derivatives and the checks, and
`csrc/<op>.{h,cpp,cu}`. The reference defines it; the kernel is right when it equals the reference
in values and derivatives, in float16, bfloat16, float32 and float64, contiguous and channels_last.
The engine calls the operation; `cuda_ext/dispatch.py` says what runs: the kernel where the tensors
are on a CUDA device, the kernels compile there, and the operation is chosen. Chosen by itself is
what stands in `DEFAULT_KERNELS`, and there stands only what beats its reference in
`benchmarks/gpu`. Nothing has been measured yet, so none does; `EDITVEC_KERNELS=all`, or names
between commas, chooses others, `none` chooses none. Everything else runs as the reference, on a CPU
always.

`.cu` files know no torch, bindings (`.cpp`) no kernel syntax. The arithmetic of a kernel is in
headers of its own (`*_element.h`, `*_tile.h`) that any C++ compiler takes:
`tests/support/kernel_emulation.cpp` runs it thread by thread on a CPU, under the
undefined-behaviour sanitizer, behind the same operators and derivatives. So without a GPU only
launches and the bindings' checks remain untested; nvcc compiles them. With one, `pytest -m gpu`
compares the kernels themselves and runs them under compute-sanitizer.

Kernels are compiled at the first call that takes one, or by `editvec kernels build` (with `--arch
90` also where there is no device), by nvcc of torch's CUDA major version from `CUDA_HOME` or the
path. The library is kept in `~/.cache/editvec/cuda_ext` under a name that holds everything it
depends on, and renamed into place when whole; the lock of a dead builder stops nobody, that of a
live one is waited for five minutes. Where it cannot be compiled, the references run, and one
warning says why. `editvec kernels show` tells what would run and why.
"""
