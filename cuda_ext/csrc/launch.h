// How the element-wise kernels are launched: one thread per element, over a grid of bounded size.

#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "element.h"

namespace editvec {

constexpr int kThreadsPerBlock = 256;
constexpr int64_t kMaxBlocks = 65535;

inline int grid_size(int64_t num_elements) {
  const int64_t blocks = (num_elements + kThreadsPerBlock - 1) / kThreadsPerBlock;
  return static_cast<int>(std::min(blocks, kMaxBlocks));
}

// May 32 bits count the elements? The grid-stride loop steps past the end once: room for that.
inline bool fits_32_bits(int64_t num_elements) {
  return num_elements <= std::numeric_limits<int32_t>::max() - kMaxBlocks * kThreadsPerBlock;
}

template <typename T>
struct TypeTag {
  using type = T;
};

// Call `function` with a tag of the C++ type behind `dtype`.
template <typename Function>
void for_dtype(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::kFloat16:
      function(TypeTag<__half>());
      break;
    case DType::kBFloat16:
      function(TypeTag<__nv_bfloat16>());
      break;
    case DType::kFloat32:
      function(TypeTag<float>());
      break;
    case DType::kFloat64:
      function(TypeTag<double>());
      break;
  }
}

}  // namespace editvec
