// Bias, activation, gain and clamp: what the operator (bias_act.cpp) and the kernel (bias_act.cu)
// agree on. No PyTorch header here, so that the kernel compiles in seconds.

#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

namespace editvec {

enum class DType : int { kFloat16 = 0, kBFloat16 = 1, kFloat32 = 2, kFloat64 = 3 };

enum class Activation : int { kLinear = 0, kLeakyRelu = 1 };

// Everything that the kernels need to know. All pointers are device memory of one dtype.
//
// Elements lie densely in memory; the channel of element i is (i / channel_stride) % num_channels,
// which covers contiguous (stride = inner size) and channels_last (stride = 1) alike.
struct BiasActArguments {
  const void* grad;        // gradient of the output; only for the gradient kernel
  const void* x;
  const void* bias;        // [num_channels], or null
  void* out;               // output, or gradient of x
  int64_t num_elements;
  int64_t num_channels;
  int64_t channel_stride;
  DType dtype;
  Activation activation;
  double gain;
  double clamp;            // negative: no clamp
};

// out = clamp(activation(x + bias) * gain)
cudaError_t launch_bias_act(const BiasActArguments& arguments, cudaStream_t stream);

// out = grad * d(bias_act(x))/dx
cudaError_t launch_bias_act_grad(const BiasActArguments& arguments, cudaStream_t stream);

}  // namespace editvec
