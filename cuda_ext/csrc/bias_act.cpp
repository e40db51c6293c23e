// The operators editvec::bias_act and editvec::bias_act_grad: check every precondition, then launch.

#include "bias_act.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "checks.h"

namespace editvec {
namespace {

void check_bias(const at::Tensor& x, const std::optional<at::Tensor>& bias) {
  if (!bias.has_value()) {
    return;
  }
  TORCH_CHECK_VALUE(bias->dim() == 1 && bias->size(0) == x.size(1), "bias must have shape [",
                    x.size(1), "], got ", bias->sizes());
  check_like("bias", *bias, "x", x);
  TORCH_CHECK_VALUE(bias->is_contiguous(), "bias must be contiguous");
  check_aligned("bias", *bias, bias->element_size());
}

void check_noise(const at::Tensor& x, const std::optional<at::Tensor>& noise) {
  if (!noise.has_value()) {
    return;
  }
  TORCH_CHECK_VALUE(x.dim() == 4, "noise goes with x of shape [N, C, H, W], got ", x.sizes());
  const bool fits = noise->dim() == 4 && noise->size(1) == 1 && noise->size(2) == x.size(2) &&
                    noise->size(3) == x.size(3) &&
                    (noise->size(0) == 1 || noise->size(0) == x.size(0));
  TORCH_CHECK_VALUE(fits, "noise must have shape [", x.size(0), " or 1, 1, ", x.size(2), ", ",
                    x.size(3), "], got ", noise->sizes());
  check_like("noise", *noise, "x", x);
  TORCH_CHECK_VALUE(noise->is_contiguous(), "noise must be contiguous");
  check_aligned("noise", *noise, noise->element_size());
}

BiasActArguments check(const at::Tensor& x, const std::optional<at::Tensor>& bias,
                       const std::optional<at::Tensor>& noise, int64_t activation, double gain,
                       double clamp, at::MemoryFormat format) {
  TORCH_CHECK_VALUE(x.is_cuda(), "x must be on a CUDA device, got ", x.device());
  TORCH_CHECK_VALUE(x.dim() >= 2, "x must be [N, C, ...], got ", x.sizes());
  TORCH_CHECK_VALUE(activation == 0 || activation == 1,
                    "activation must be 0 (linear) or 1 (leaky ReLU), got ", activation);
  TORCH_CHECK_VALUE(std::isfinite(gain), "gain must be finite, got ", gain);
  TORCH_CHECK_VALUE(!std::isnan(clamp), "clamp must be a number");
  check_aligned("x", x, x.element_size());
  check_bias(x, bias);
  check_noise(x, noise);
  const bool channels_last = format == at::MemoryFormat::ChannelsLast;
  BiasActArguments arguments{};
  arguments.x = x.const_data_ptr();
  arguments.bias = bias.has_value() ? bias->const_data_ptr() : nullptr;
  arguments.noise = noise.has_value() ? noise->const_data_ptr() : nullptr;
  arguments.num_elements = x.numel();
  arguments.num_channels = std::max<int64_t>(x.size(1), 1);
  arguments.num_pixels = 1;
  for (int64_t dim = 2; dim < x.dim(); ++dim) {
    arguments.num_pixels *= std::max<int64_t>(x.size(dim), 1);
  }
  arguments.channel_stride = channels_last ? 1 : arguments.num_pixels;
  arguments.pixel_stride = channels_last ? arguments.num_channels : 1;
  const bool one_for_each = noise.has_value() && noise->size(0) > 1;
  arguments.noise_image_stride = one_for_each ? arguments.num_pixels : 0;
  arguments.dtype = to_dtype("x", x.scalar_type());
  arguments.activation = static_cast<Activation>(activation);
  arguments.gain = gain;
  arguments.clamp = clamp;
  return arguments;
}

at::Tensor bias_act(const at::Tensor& x, const std::optional<at::Tensor>& bias,
                    const std::optional<at::Tensor>& noise, int64_t activation, double gain,
                    double clamp) {
  const at::MemoryFormat format = dense_format("x", x);
  BiasActArguments arguments = check(x, bias, noise, activation, gain, clamp, format);
  const c10::cuda::CUDAGuard guard(x.device());
  at::Tensor out = at::empty_like(x, x.options(), format);
  arguments.out = out.mutable_data_ptr();
  C10_CUDA_CHECK(launch_bias_act(arguments, c10::cuda::getCurrentCUDAStream()));
  return out;
}

at::Tensor bias_act_grad(const at::Tensor& grad, const at::Tensor& x,
                         const std::optional<at::Tensor>& bias,
                         const std::optional<at::Tensor>& noise, int64_t activation, double gain,
                         double clamp) {
  const at::MemoryFormat format = dense_format("x", x);
  BiasActArguments arguments = check(x, bias, noise, activation, gain, clamp, format);
  TORCH_CHECK_VALUE(grad.sizes() == x.sizes(), "grad must have the shape of x, ", x.sizes(),
                    ", got ", grad.sizes());
  check_like("grad", grad, "x", x);
  TORCH_CHECK_VALUE(grad.is_contiguous(format), "grad must lie in memory as x does, got strides ",
                    grad.strides());
  check_aligned("grad", grad, grad.element_size());
  const c10::cuda::CUDAGuard guard(x.device());
  at::Tensor out = at::empty_like(x, x.options(), format);
  arguments.grad = grad.const_data_ptr();
  arguments.out = out.mutable_data_ptr();
  C10_CUDA_CHECK(launch_bias_act_grad(arguments, c10::cuda::getCurrentCUDAStream()));
  return out;
}

}  // namespace
}  // namespace editvec

TORCH_LIBRARY_FRAGMENT(editvec, library) {
  library.def(
      "bias_act(Tensor x, Tensor? bias, Tensor? noise, int activation, float gain, float clamp)"
      " -> Tensor");
  library.def(
      "bias_act_grad(Tensor grad, Tensor x, Tensor? bias, Tensor? noise, int activation,"
      " float gain, float clamp) -> Tensor");
}

TORCH_LIBRARY_IMPL(editvec, CUDA, library) {
  library.impl("bias_act", &editvec::bias_act);
  library.impl("bias_act_grad", &editvec::bias_act_grad);
}
