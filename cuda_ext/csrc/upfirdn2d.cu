// The kernel of upfirdn2d: one thread per strip of outputs. The taps lie in the kernel's arguments,
// rows are filtered once per strip, and what neighbours read comes from the first cache.

#include "upfirdn2d.h"

#include "launch.h"

namespace editvec {
namespace {

template <typename T, typename Index>
__global__ void upfirdn2d_kernel(const __grid_constant__ Upfirdn2dView<T, Index> view) {
  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
  Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i < view.num_strips; i += step) {
    upfirdn2d_strip(view, i);
  }
}

template <typename T, typename Index>
void launch(const Upfirdn2dArguments& a, int64_t num_strips, cudaStream_t stream) {
  using A = typename Accumulator<T>::type;
  Upfirdn2dView<T, Index> view{};
  view.x = static_cast<const T*>(a.x);
  view.out = static_cast<T*>(a.out);
  view.num_strips = static_cast<Index>(num_strips);
  view.num_channels = static_cast<Index>(a.num_channels);
  view.strips_per_column = (a.out_height + kStripRows - 1) / kStripRows;
  view.in_height = a.in_height;
  view.in_width = a.in_width;
  view.out_height = a.out_height;
  view.out_width = a.out_width;
  view.up = a.up;
  view.down = a.down;
  view.pad = a.pad;
  view.num_taps = a.num_taps;
  view.channels_last = a.channels_last;
  view.gain = static_cast<A>(a.gain);
  for (int tap = 0; tap < a.num_taps; ++tap) {
    view.taps[tap] = static_cast<A>(a.taps[tap]);
  }
  upfirdn2d_kernel<T, Index><<<grid_size(num_strips), kThreadsPerBlock, 0, stream>>>(view);
}

}  // namespace

cudaError_t launch_upfirdn2d(const Upfirdn2dArguments& a, cudaStream_t stream) {
  if (a.num_taps < 1 || a.num_taps > kMaxTaps || a.up < 1 || a.down < 1) {
    return cudaErrorInvalidValue;
  }
  const int64_t planes = a.num_images * a.num_channels;
  const int64_t strips_per_column = (a.out_height + kStripRows - 1) / kStripRows;
  const int64_t num_strips = planes * strips_per_column * a.out_width;
  if (num_strips == 0) {
    return cudaSuccess;
  }
  // Elements are addressed with the index as well: the larger tensor decides.
  const int64_t num_elements =
      planes * std::max(static_cast<int64_t>(a.in_height) * a.in_width,
                        strips_per_column * kStripRows * a.out_width);
  for_dtype(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (fits_32_bits(num_elements)) {
      launch<T, int32_t>(a, num_strips, stream);
    } else {
      launch<T, int64_t>(a, num_strips, stream);
    }
  });
  return cudaGetLastError();
}

}  // namespace editvec
