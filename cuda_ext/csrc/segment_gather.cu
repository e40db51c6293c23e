// The kernels of segment_gather: one block per tile of pixels.

#include "segment_gather.h"

#include "launch.h"
#include "segment_gather_tile.h"

namespace editvec {
namespace {

// The threads of a block: `each` divides a step among them and waits for all.
struct BlockTeam {
  template <typename Step>
  EDITVEC_BOTH void each(const Step& step) const {
#ifdef __CUDA_ARCH__
    step(static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x));
    __syncthreads();
#else
    (void)step;
#endif
  }
};

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    segment_gather_kernel(const __grid_constant__ SegmentGatherView<T> view) {
  extern __shared__ int4 shared[];
  segment_gather_tile(view, shared, static_cast<int64_t>(blockIdx.x) * view.tile, BlockTeam());
}

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    segment_gather_grad_kernel(const __grid_constant__ SegmentGatherView<T> view) {
  extern __shared__ int4 shared[];
  segment_gather_grad_tile(view, shared, static_cast<int64_t>(blockIdx.x) * view.tile,
                           BlockTeam());
}

template <typename T>
SegmentGatherView<T> make_view(const SegmentGatherArguments& a) {
  using A = typename Accumulator<T>::type;
  SegmentGatherView<T> view{};
  for (int scale = 0; scale < a.num_scales; ++scale) {
    view.maps[scale] = static_cast<const T*>(a.maps[scale]);
    view.grad_maps[scale] = static_cast<A*>(a.grad_maps[scale]);
    view.images[scale] = a.images[scale];
    view.heights[scale] = a.heights[scale];
    view.widths[scale] = a.widths[scale];
  }
  view.num_scales = a.num_scales;
  view.target_height = a.target_height;
  view.target_width = a.target_width;
  view.pixels = a.pixels;
  view.num_pixels = a.num_pixels;
  view.addend = static_cast<const T*>(a.addend);
  view.grad_addend = static_cast<T*>(a.grad_addend);
  view.layer2 = static_cast<const A*>(a.layer2);
  view.bias2 = static_cast<const A*>(a.bias2);
  view.layer3 = static_cast<const A*>(a.layer3);
  view.bias3 = static_cast<const A*>(a.bias3);
  view.back2 = static_cast<const A*>(a.back2);
  view.back3 = static_cast<const A*>(a.back3);
  view.num_members = a.num_members;
  view.hidden1 = a.hidden1;
  view.hidden2 = a.hidden2;
  view.labels = a.labels;
  view.logits = static_cast<T*>(a.logits);
  view.grad_logits = static_cast<const T*>(a.grad_logits);
  return view;
}

// The largest tile that fits a block's shared memory, made smaller where few pixels would leave
// multiprocessors idle.
template <typename T>
cudaError_t choose_tile(SegmentGatherView<T>& view) {
  int device = 0;
  int memory = 0;
  int processors = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&memory, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  }
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  }
  if (status != cudaSuccess) {
    return status;
  }
  view.tile = 32;
  while (view.tile > 4 && tile_bytes(view) > memory) {
    view.tile /= 2;
  }
  while (view.tile > 8 && (view.num_pixels + view.tile - 1) / view.tile < processors) {
    view.tile /= 2;
  }
  return tile_bytes(view) > memory ? cudaErrorInvalidConfiguration : cudaSuccess;
}

template <typename T>
cudaError_t launch(const SegmentGatherArguments& a, bool backward, cudaStream_t stream) {
  SegmentGatherView<T> view = make_view<T>(a);
  cudaError_t status = choose_tile(view);
  if (status != cudaSuccess) {
    return status;
  }
  void (*kernel)(SegmentGatherView<T>) =
      backward ? segment_gather_grad_kernel<T> : segment_gather_kernel<T>;
  const auto bytes = static_cast<int>(tile_bytes(view));
  status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (status != cudaSuccess) {
    return status;
  }
  const int64_t blocks = (view.num_pixels + view.tile - 1) / view.tile;
  if (blocks > std::numeric_limits<int32_t>::max()) {
    return cudaErrorInvalidConfiguration;
  }
  kernel<<<static_cast<unsigned>(blocks), kThreadsPerBlock, static_cast<size_t>(bytes), stream>>>(
      view);
  return cudaGetLastError();
}

cudaError_t launch_for_dtype(const SegmentGatherArguments& a, bool backward, cudaStream_t stream) {
  if (a.num_scales < 0 || a.num_scales > kMaxScales || a.hidden2 % 4 != 0) {
    return cudaErrorInvalidValue;
  }
  if (a.num_pixels == 0) {
    return cudaSuccess;
  }
  cudaError_t status = cudaSuccess;
  for_dtype(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    status = launch<T>(a, backward, stream);
  });
  return status;
}

}  // namespace

cudaError_t launch_segment_gather(const SegmentGatherArguments& arguments, cudaStream_t stream) {
  return launch_for_dtype(arguments, false, stream);
}

cudaError_t launch_segment_gather_grad(const SegmentGatherArguments& arguments,
                                       cudaStream_t stream) {
  return launch_for_dtype(arguments, true, stream);
}

}  // namespace editvec
