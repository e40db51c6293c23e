// The kernels of bias_act: one thread per element, memory-bound by design.

#include "bias_act.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace editvec {
namespace {

constexpr int kThreadsPerBlock = 256;
constexpr int64_t kMaxBlocks = 65535;
constexpr double kLeakyReluSlope = 0.2;

// Arithmetic happens in float for the 16-bit types and in the type itself otherwise.
template <typename T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};

// The activation before gain and clamp. NaN passes through, as it does in the reference.
template <typename A>
__device__ A activate(A value, Activation activation) {
  if (activation == Activation::kLeakyRelu && !(value > A(0))) {
    return value * A(kLeakyReluSlope);
  }
  return value;
}

template <typename A, typename T>
__device__ A add_bias(const T* x, const T* bias, int64_t element, int64_t channel) {
  const A value = static_cast<A>(x[element]);
  return bias == nullptr ? value : value + static_cast<A>(bias[channel]);
}

template <typename T, typename Index>
__global__ void bias_act_kernel(const T* x, const T* bias, T* out, Index num_elements,
                                Index num_channels, Index channel_stride, Activation activation,
                                double gain, double clamp) {
  using A = typename Accumulator<T>::type;
  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
  Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i < num_elements; i += step) {
    const Index channel = (i / channel_stride) % num_channels;
    A y = activate(add_bias<A>(x, bias, i, channel), activation) * static_cast<A>(gain);
    if (clamp >= 0) {
      const A bound = static_cast<A>(clamp);
      y = y > bound ? bound : (y < -bound ? -bound : y);
    }
    out[i] = static_cast<T>(y);
  }
}

template <typename T, typename Index>
__global__ void bias_act_grad_kernel(const T* grad, const T* x, const T* bias, T* out,
                                     Index num_elements, Index num_channels, Index channel_stride,
                                     Activation activation, double gain, double clamp) {
  using A = typename Accumulator<T>::type;
  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
  Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i < num_elements; i += step) {
    const Index channel = (i / channel_stride) % num_channels;
    const A biased = add_bias<A>(x, bias, i, channel);
    A slope = static_cast<A>(gain);
    if (activation == Activation::kLeakyRelu && !(biased > A(0))) {
      slope *= A(kLeakyReluSlope);
    }
    if (clamp >= 0) {
      const A bound = static_cast<A>(clamp);
      const A y = activate(biased, activation) * static_cast<A>(gain);
      if (!(y >= -bound && y <= bound)) {
        slope = A(0);
      }
    }
    out[i] = static_cast<T>(static_cast<A>(grad[i]) * slope);
  }
}

int grid_size(int64_t num_elements) {
  const int64_t blocks = (num_elements + kThreadsPerBlock - 1) / kThreadsPerBlock;
  return static_cast<int>(std::min(blocks, kMaxBlocks));
}

template <typename T, typename Index>
void launch(const BiasActArguments& a, cudaStream_t stream) {
  const T* grad = static_cast<const T*>(a.grad);
  const T* x = static_cast<const T*>(a.x);
  const T* bias = static_cast<const T*>(a.bias);
  T* out = static_cast<T*>(a.out);
  const auto num_elements = static_cast<Index>(a.num_elements);
  const auto num_channels = static_cast<Index>(a.num_channels);
  const auto channel_stride = static_cast<Index>(a.channel_stride);
  const int blocks = grid_size(a.num_elements);
  if (grad == nullptr) {
    bias_act_kernel<T, Index><<<blocks, kThreadsPerBlock, 0, stream>>>(
        x, bias, out, num_elements, num_channels, channel_stride, a.activation, a.gain, a.clamp);
  } else {
    bias_act_grad_kernel<T, Index><<<blocks, kThreadsPerBlock, 0, stream>>>(
        grad, x, bias, out, num_elements, num_channels, channel_stride, a.activation, a.gain,
        a.clamp);
  }
}

template <typename T>
void launch_with_narrowest_index(const BiasActArguments& a, cudaStream_t stream) {
  // The grid-stride loop steps past the end once: leave room for that in 32 bits.
  constexpr int64_t kRoom = kMaxBlocks * kThreadsPerBlock;
  if (a.num_elements <= std::numeric_limits<int32_t>::max() - kRoom) {
    launch<T, int32_t>(a, stream);
  } else {
    launch<T, int64_t>(a, stream);
  }
}

cudaError_t launch_for_dtype(const BiasActArguments& a, cudaStream_t stream) {
  if (a.num_elements == 0) {
    return cudaSuccess;
  }
  switch (a.dtype) {
    case DType::kFloat16:
      launch_with_narrowest_index<__half>(a, stream);
      break;
    case DType::kBFloat16:
      launch_with_narrowest_index<__nv_bfloat16>(a, stream);
      break;
    case DType::kFloat32:
      launch_with_narrowest_index<float>(a, stream);
      break;
    case DType::kFloat64:
      launch_with_narrowest_index<double>(a, stream);
      break;
  }
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_bias_act(const BiasActArguments& arguments, cudaStream_t stream) {
  if (arguments.grad != nullptr) {
    return cudaErrorInvalidValue;
  }
  return launch_for_dtype(arguments, stream);
}

cudaError_t launch_bias_act_grad(const BiasActArguments& arguments, cudaStream_t stream) {
  if (arguments.grad == nullptr && arguments.num_elements > 0) {
    return cudaErrorInvalidValue;
  }
  return launch_for_dtype(arguments, stream);
}

}  // namespace editvec
