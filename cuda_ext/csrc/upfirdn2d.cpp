// The operator editvec::upfirdn2d: checks every precondition, then launches.

#include "upfirdn2d.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <cmath>

#include "checks.h"

namespace editvec {
namespace {

constexpr int64_t kMaxSize = 1 << 20;  // of a side; products with factors stay below 2^31
constexpr int64_t kMaxFactor = 64;

at::Tensor upfirdn2d(const at::Tensor& x, at::ArrayRef<double> taps, int64_t up, int64_t down,
                     int64_t pad, int64_t out_height, int64_t out_width, double gain) {
  TORCH_CHECK_VALUE(x.is_cuda(), "x must be on a CUDA device, got ", x.device());
  TORCH_CHECK_VALUE(x.dim() == 4, "x must be [N, C, H, W], got ", x.sizes());
  TORCH_CHECK_VALUE(!taps.empty() && taps.size() <= kMaxTaps, "taps must be 1 to ", kMaxTaps,
                    " numbers, got ", taps.size());
  TORCH_CHECK_VALUE(up >= 1 && up <= kMaxFactor, "up must be 1 to ", kMaxFactor, ", got ", up);
  TORCH_CHECK_VALUE(down >= 1 && down <= kMaxFactor, "down must be 1 to ", kMaxFactor, ", got ",
                    down);
  TORCH_CHECK_VALUE(std::abs(pad) <= kMaxSize, "pad must be at most ", kMaxSize, ", got ", pad);
  TORCH_CHECK_VALUE(x.size(2) <= kMaxSize && x.size(3) <= kMaxSize,
                    "x must have sides of at most ", kMaxSize, ", got ", x.sizes());
  TORCH_CHECK_VALUE(out_height >= 0 && out_height <= kMaxSize && out_width >= 0 &&
                        out_width <= kMaxSize,
                    "the result must have sides of at most ", kMaxSize, ", got ", out_height,
                    " and ", out_width);
  TORCH_CHECK_VALUE(std::isfinite(gain), "gain must be finite, got ", gain);
  check_aligned("x", x, x.element_size());
  const at::MemoryFormat format = dense_format("x", x);
  const c10::cuda::CUDAGuard guard(x.device());
  at::Tensor out =
      at::empty({x.size(0), x.size(1), out_height, out_width}, x.options(), format);
  Upfirdn2dArguments arguments{};
  arguments.x = x.const_data_ptr();
  arguments.out = out.mutable_data_ptr();
  arguments.num_images = x.size(0);
  arguments.num_channels = x.size(1);
  arguments.in_height = static_cast<int>(x.size(2));
  arguments.in_width = static_cast<int>(x.size(3));
  arguments.out_height = static_cast<int>(out_height);
  arguments.out_width = static_cast<int>(out_width);
  arguments.up = static_cast<int>(up);
  arguments.down = static_cast<int>(down);
  arguments.pad = static_cast<int>(pad);
  arguments.num_taps = static_cast<int>(taps.size());
  arguments.channels_last = format == at::MemoryFormat::ChannelsLast;
  arguments.dtype = to_dtype("x", x.scalar_type());
  arguments.gain = gain;
  for (size_t tap = 0; tap < taps.size(); ++tap) {
    arguments.taps[tap] = taps[tap];
  }
  C10_CUDA_CHECK(launch_upfirdn2d(arguments, c10::cuda::getCurrentCUDAStream()));
  return out;
}

}  // namespace
}  // namespace editvec

TORCH_LIBRARY_FRAGMENT(editvec, library) {
  library.def(
      "upfirdn2d(Tensor x, float[] taps, int up, int down, int pad, int out_height,"
      " int out_width, float gain) -> Tensor");
}

TORCH_LIBRARY_IMPL(editvec, CUDA, library) {
  library.impl("upfirdn2d", &editvec::upfirdn2d);
}
