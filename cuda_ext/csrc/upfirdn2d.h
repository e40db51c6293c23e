// Up-sampling, separable filter, down-sampling: what the operator (upfirdn2d.cpp) and the kernel
// (upfirdn2d.cu) agree on. No PyTorch header here.

#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

#include "upfirdn2d_element.h"

namespace editvec {

// An `Upfirdn2dView` before its types are known. Pointers are device memory of one dtype.
struct Upfirdn2dArguments {
  const void* x;
  void* out;
  int64_t num_images;
  int64_t num_channels;
  int in_height;
  int in_width;
  int out_height;
  int out_width;
  int up;
  int down;
  int pad;
  int num_taps;
  bool channels_last;
  DType dtype;
  double gain;
  double taps[kMaxTaps];
};

cudaError_t launch_upfirdn2d(const Upfirdn2dArguments& arguments, cudaStream_t stream);

}  // namespace editvec
