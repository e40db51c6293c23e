// The kernels of bias_act: one thread per element, memory-bound by design.

#include "bias_act.h"

#include "launch.h"

namespace editvec {
namespace {

template <typename T, typename Index>
__global__ void bias_act_kernel(BiasActView<T, Index> view) {
  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
  Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i < view.num_elements; i += step) {
    bias_act_element(view, i);
  }
}

template <typename T, typename Index>
__global__ void bias_act_grad_kernel(BiasActView<T, Index> view) {
  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
  Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i < view.num_elements; i += step) {
    bias_act_grad_element(view, i);
  }
}

template <typename T, typename Index>
void launch(const BiasActArguments& a, cudaStream_t stream) {
  using A = typename Accumulator<T>::type;
  BiasActView<T, Index> view{};
  view.grad = static_cast<const T*>(a.grad);
  view.x = static_cast<const T*>(a.x);
  view.bias = static_cast<const T*>(a.bias);
  view.noise = static_cast<const T*>(a.noise);
  view.out = static_cast<T*>(a.out);
  view.num_elements = static_cast<Index>(a.num_elements);
  view.num_channels = static_cast<Index>(a.num_channels);
  view.channel_stride = static_cast<Index>(a.channel_stride);
  view.num_pixels = static_cast<Index>(a.num_pixels);
  view.pixel_stride = static_cast<Index>(a.pixel_stride);
  view.noise_image_stride = static_cast<Index>(a.noise_image_stride);
  view.activation = a.activation;
  view.gain = static_cast<A>(a.gain);
  view.clamp = static_cast<A>(a.clamp);
  const int blocks = grid_size(a.num_elements);
  if (a.grad == nullptr) {
    bias_act_kernel<T, Index><<<blocks, kThreadsPerBlock, 0, stream>>>(view);
  } else {
    bias_act_grad_kernel<T, Index><<<blocks, kThreadsPerBlock, 0, stream>>>(view);
  }
}

cudaError_t launch_for_dtype(const BiasActArguments& a, cudaStream_t stream) {
  if (a.num_elements == 0) {
    return cudaSuccess;
  }
  for_dtype(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (fits_32_bits(a.num_elements)) {
      launch<T, int32_t>(a, stream);
    } else {
      launch<T, int64_t>(a, stream);
    }
  });
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
