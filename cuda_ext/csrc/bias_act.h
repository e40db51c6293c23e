// Noise, bias, activation, gain and clamp: what the operator (bias_act.cpp) and the kernel
// (bias_act.cu) agree on. No PyTorch header here, so that the kernel compiles in seconds.

#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

#include "bias_act_element.h"

namespace editvec {

// A `BiasActView` before its types are known. All pointers are device memory of one dtype.
struct BiasActArguments {
  const void* grad;
  const void* x;
  const void* bias;
  const void* noise;
  void* out;
  int64_t num_elements;
  int64_t num_channels;
  int64_t channel_stride;
  int64_t num_pixels;
  int64_t pixel_stride;
  int64_t noise_image_stride;
  DType dtype;
  Activation activation;
  double gain;
  double clamp;
};

// out = clamp(activation(x + noise + bias) * gain)
cudaError_t launch_bias_act(const BiasActArguments& arguments, cudaStream_t stream);

// out = grad * d(bias_act(x))/dx
cudaError_t launch_bias_act_grad(const BiasActArguments& arguments, cudaStream_t stream);

}  // namespace editvec
