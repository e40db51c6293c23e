// The operators editvec::bias_act and editvec::bias_act_grad: check every precondition, then launch.

#include "bias_act.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace editvec {
namespace {

DType to_dtype(at::ScalarType type) {
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
      TORCH_CHECK_TYPE(false, "x must be float16, bfloat16, float32 or float64, got ", type);
  }
}

// The layout in which x lies densely; anything else is refused.
at::MemoryFormat dense_format(const at::Tensor& x) {
  if (x.is_contiguous()) {
    return at::MemoryFormat::Contiguous;
  }
  TORCH_CHECK_VALUE(x.is_contiguous(at::MemoryFormat::ChannelsLast),
                    "x must be contiguous or channels_last, got strides ", x.strides());
  return at::MemoryFormat::ChannelsLast;
}

void check_bias(const at::Tensor& x, const std::optional<at::Tensor>& bias) {
  if (!bias.has_value()) {
    return;
  }
  TORCH_CHECK_VALUE(bias->dim() == 1 && bias->size(0) == x.size(1), "bias must have shape [",
                    x.size(1), "], got ", bias->sizes());
  TORCH_CHECK_TYPE(bias->scalar_type() == x.scalar_type(), "bias must be ", x.scalar_type(),
                   " as x is, got ", bias->scalar_type());
  TORCH_CHECK_VALUE(bias->device() == x.device(), "bias must be on ", x.device(), ", got ",
                    bias->device());
  TORCH_CHECK_VALUE(bias->is_contiguous(), "bias must be contiguous");
}

BiasActArguments check(const at::Tensor& x, const std::optional<at::Tensor>& bias,
                       int64_t activation, double gain, double clamp, at::MemoryFormat format) {
  TORCH_CHECK_VALUE(x.is_cuda(), "x must be on a CUDA device, got ", x.device());
  TORCH_CHECK_VALUE(x.dim() >= 2, "x must be [N, C, ...], got ", x.sizes());
  TORCH_CHECK_VALUE(activation == 0 || activation == 1,
                    "activation must be 0 (linear) or 1 (leaky ReLU), got ", activation);
  TORCH_CHECK_VALUE(std::isfinite(gain), "gain must be finite, got ", gain);
  TORCH_CHECK_VALUE(!std::isnan(clamp), "clamp must be a number");
  check_bias(x, bias);
  const bool channels_last = format == at::MemoryFormat::ChannelsLast;
  BiasActArguments arguments{};
  arguments.x = x.const_data_ptr();
  arguments.bias = bias.has_value() ? bias->const_data_ptr() : nullptr;
  arguments.num_elements = x.numel();
  arguments.num_channels = std::max<int64_t>(x.size(1), 1);
  arguments.channel_stride = 1;
  for (int64_t dim = 2; dim < x.dim() && !channels_last; ++dim) {
    arguments.channel_stride *= std::max<int64_t>(x.size(dim), 1);
  }
  arguments.dtype = to_dtype(x.scalar_type());
  arguments.activation = static_cast<Activation>(activation);
  arguments.gain = gain;
  arguments.clamp = clamp;
  return arguments;
}

at::Tensor bias_act(const at::Tensor& x, const std::optional<at::Tensor>& bias, int64_t activation,
                    double gain, double clamp) {
  const at::MemoryFormat format = dense_format(x);
  BiasActArguments arguments = check(x, bias, activation, gain, clamp, format);
  const c10::cuda::CUDAGuard guard(x.device());
  at::Tensor out = at::empty_like(x, x.options(), format);
  arguments.out = out.mutable_data_ptr();
  C10_CUDA_CHECK(launch_bias_act(arguments, c10::cuda::getCurrentCUDAStream()));
  return out;
}

at::Tensor bias_act_grad(const at::Tensor& grad, const at::Tensor& x,
                         const std::optional<at::Tensor>& bias, int64_t activation, double gain,
                         double clamp) {
  const at::MemoryFormat format = dense_format(x);
  BiasActArguments arguments = check(x, bias, activation, gain, clamp, format);
  TORCH_CHECK_VALUE(grad.sizes() == x.sizes(), "grad must have the shape of x, ", x.sizes(),
                    ", got ", grad.sizes());
  TORCH_CHECK_TYPE(grad.scalar_type() == x.scalar_type(), "grad must be ", x.scalar_type(),
                   " as x is, got ", grad.scalar_type());
  TORCH_CHECK_VALUE(grad.device() == x.device(), "grad must be on ", x.device(), ", got ",
                    grad.device());
  TORCH_CHECK_VALUE(grad.is_contiguous(format), "grad must lie in memory as x does, got strides ",
                    grad.strides());
  const c10::cuda::CUDAGuard guard(x.device());
  at::Tensor out = at::empty_like(x, x.options(), format);
  arguments.grad = grad.const_data_ptr();
  arguments.out = out.mutable_data_ptr();
  C10_CUDA_CHECK(launch_bias_act_grad(arguments, c10::cuda::getCurrentCUDAStream()));
  return out;
}

}  // namespace
}  // namespace editvec

TORCH_LIBRARY(editvec, library) {
  library.def(
      "bias_act(Tensor x, Tensor? bias, int activation, float gain, float clamp) -> Tensor");
  library.def(
      "bias_act_grad(Tensor grad, Tensor x, Tensor? bias, int activation, float gain, float clamp)"
      " -> Tensor");
}

TORCH_LIBRARY_IMPL(editvec, CUDA, library) {
  library.impl("bias_act", &editvec::bias_act);
  library.impl("bias_act_grad", &editvec::bias_act_grad);
}
