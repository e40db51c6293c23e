// Logits at a list of pixels: what the operator (segment_gather.cpp) and the kernels
// (segment_gather.cu) agree on. No PyTorch header here.

#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

#include "segment_gather_view.h"

namespace editvec {

// A `SegmentGatherView` before its types are known; see there. Pointers are device memory: maps,
// addend and logits of one dtype, gradients of maps and the layers of the type of the arithmetic.
struct SegmentGatherArguments {
  const void* maps[kMaxScales];
  void* grad_maps[kMaxScales];
  int images[kMaxScales];
  int heights[kMaxScales];
  int widths[kMaxScales];
  int num_scales;
  int target_height;
  int target_width;
  const int64_t* pixels;
  int64_t num_pixels;
  const void* addend;
  void* grad_addend;
  const void* layer2;
  const void* bias2;
  const void* layer3;
  const void* bias3;
  const void* back2;
  const void* back3;
  int num_members;
  int hidden1;
  int hidden2;
  int labels;
  void* logits;
  const void* grad_logits;
  DType dtype;
};

// cudaErrorInvalidConfiguration: not even four pixels fit a block's shared memory.
cudaError_t launch_segment_gather(const SegmentGatherArguments& arguments, cudaStream_t stream);

// Adds to grad_maps, which begin as zeros, and fills grad_addend.
cudaError_t launch_segment_gather_grad(const SegmentGatherArguments& arguments,
                                       cudaStream_t stream);

}  // namespace editvec
