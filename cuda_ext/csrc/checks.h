// What the operators check alike. Each violation is one sentence that names the argument.

#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>
#include <c10/util/Exception.h>

#include <cstdint>

#include "element.h"

namespace editvec {

inline DType to_dtype(const char* name, at::ScalarType type) {
  switch (type) {
    case at::kHalf:
      return DType::kFloat16;
    case at::kBFloat16:
      return DType::kBFloat16;
    case at::kFloat:
      return DType::kFloat32;
    case at::kDouble:
      return DType::kFloat64;
    default:
      TORCH_CHECK_TYPE(false, name, " must be float16, bfloat16, float32 or float64, got ", type);
  }
}

// Of the dtype and on the device of `like`, which `like_name` names.
inline void check_like(const char* name, const at::Tensor& tensor, const char* like_name,
                       const at::Tensor& like) {
  TORCH_CHECK_TYPE(tensor.scalar_type() == like.scalar_type(), name, " must be ",
                   like.scalar_type(), " as ", like_name, " is, got ", tensor.scalar_type());
  TORCH_CHECK_VALUE(tensor.device() == like.device(), name, " must be on ", like.device(),
                    " as ", like_name, " is, got ", tensor.device());
}

// Tensors made from foreign memory may begin anywhere.
inline void check_aligned(const char* name, const at::Tensor& tensor, int64_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr());
  TORCH_CHECK_VALUE(address % static_cast<std::uintptr_t>(bytes) == 0, name,
                    " must begin at a multiple of ", bytes, " bytes, got address ", address);
}

// The layout in which a tensor lies densely; anything else is refused.
inline at::MemoryFormat dense_format(const char* name, const at::Tensor& tensor) {
  if (tensor.is_contiguous()) {
    return at::MemoryFormat::Contiguous;
  }
  TORCH_CHECK_VALUE(tensor.is_contiguous(at::MemoryFormat::ChannelsLast), name,
                    " must be contiguous or channels_last, got strides ", tensor.strides());
  return at::MemoryFormat::ChannelsLast;
}

}  // namespace editvec
