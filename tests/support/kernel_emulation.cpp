// Runs the arithmetic of the CUDA kernels on the CPU: the same headers, one thread after the other.

#if __has_include(<cuda_fp16.h>)
#define HAS_HALF 1
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#else
#define HAS_HALF 0
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "bias_act_element.h"
#include "segment_gather_tile.h"
#include "upfirdn2d_element.h"

using namespace editvec;

namespace {

// Calls `function` with a null pointer to the type behind a `DType`; false: not known here.
template <typename Function>
bool for_type(int dtype, const Function& function) {
  switch (static_cast<DType>(dtype)) {
#if HAS_HALF
    case DType::kFloat16:
      function(static_cast<__half*>(nullptr));
      return true;
    case DType::kBFloat16:
      function(static_cast<__nv_bfloat16*>(nullptr));
      return true;
#endif
    case DType::kFloat32:
      function(static_cast<float*>(nullptr));
      return true;
    case DType::kFloat64:
      function(static_cast<double*>(nullptr));
      return true;
    default:
      return false;
  }
}

template <typename T, typename Index>
void bias_act(const void* grad, const void* x, const void* bias, const void* noise, void* out,
              const int64_t* sizes, int activation, double gain, double clamp) {
  using A = typename Accumulator<T>::type;
  BiasActView<T, Index> view{};
  view.grad = static_cast<const T*>(grad);
  view.x = static_cast<const T*>(x);
  view.bias = static_cast<const T*>(bias);
  view.noise = static_cast<const T*>(noise);
  view.out = static_cast<T*>(out);
  view.num_elements = static_cast<Index>(sizes[0]);
  view.num_channels = static_cast<Index>(sizes[1]);
  view.channel_stride = static_cast<Index>(sizes[2]);
  view.num_pixels = static_cast<Index>(sizes[3]);
  view.pixel_stride = static_cast<Index>(sizes[4]);
  view.noise_image_stride = static_cast<Index>(sizes[5]);
  view.activation = static_cast<Activation>(activation);
  view.gain = static_cast<A>(gain);
  view.clamp = static_cast<A>(clamp);
  for (Index i = 0; i < view.num_elements; ++i) {
    if (grad == nullptr) {
      bias_act_element(view, i);
    } else {
      bias_act_grad_element(view, i);
    }
  }
}

template <typename T, typename Index>
void upfirdn2d(const void* x, void* out, const int* sizes, double gain, const double* taps) {
  using A = typename Accumulator<T>::type;
  Upfirdn2dView<T, Index> view{};
  view.x = static_cast<const T*>(x);
  view.out = static_cast<T*>(out);
  view.num_channels = sizes[1];
  view.in_height = sizes[2];
  view.in_width = sizes[3];
  view.out_height = sizes[4];
  view.out_width = sizes[5];
  view.up = sizes[6];
  view.down = sizes[7];
  view.pad = sizes[8];
  view.num_taps = sizes[9];
  view.channels_last = sizes[10] != 0;
  view.strips_per_column = (view.out_height + kStripRows - 1) / kStripRows;
  view.num_strips = static_cast<Index>(sizes[0]) * view.num_channels * view.strips_per_column *
                    view.out_width;
  view.gain = static_cast<A>(gain);
  for (int tap = 0; tap < view.num_taps; ++tap) {
    view.taps[tap] = static_cast<A>(taps[tap]);
  }
  for (Index i = 0; i < view.num_strips; ++i) {
    upfirdn2d_strip(view, i);
  }
}

// All threads of a block, one after the other, forwards or backwards.
struct SerialTeam {
  int num_threads;
  bool backwards;

  template <typename Step>
  void each(const Step& step) const {
    for (int i = 0; i < num_threads; ++i) {
      step(backwards ? num_threads - 1 - i : i, num_threads);
    }
  }
};

}  // namespace

// What segment_gather takes; a null grad_logits is the forward pass.
struct SegmentGatherCall {
  const void* maps[kMaxScales];
  void* grad_maps[kMaxScales];
  int images[kMaxScales];
  int heights[kMaxScales];
  int widths[kMaxScales];
  const void* pixels;
  const void* addend;
  void* grad_addend;
  const void* layers[6];  // layer2, bias2, layer3, bias3, back2, back3
  void* logits;
  const void* grad_logits;
  int64_t num_pixels;
  int num_scales;
  int target_height;
  int target_width;
  int num_members;
  int hidden1;
  int hidden2;
  int labels;
  int tile;
  int num_threads;
  int backwards;
};

namespace {

constexpr size_t kMargin = 64;  // in int64_t

// False: something was written outside of the tile's memory.
template <typename T>
bool segment_gather(const SegmentGatherCall& call) {
  using A = typename Accumulator<T>::type;
  SegmentGatherView<T> view{};
  for (int scale = 0; scale < call.num_scales; ++scale) {
    view.maps[scale] = static_cast<const T*>(call.maps[scale]);
    view.grad_maps[scale] = static_cast<A*>(call.grad_maps[scale]);
    view.images[scale] = call.images[scale];
    view.heights[scale] = call.heights[scale];
    view.widths[scale] = call.widths[scale];
  }
  view.num_scales = call.num_scales;
  view.target_height = call.target_height;
  view.target_width = call.target_width;
  view.pixels = static_cast<const int64_t*>(call.pixels);
  view.num_pixels = call.num_pixels;
  view.addend = static_cast<const T*>(call.addend);
  view.grad_addend = static_cast<T*>(call.grad_addend);
  view.layer2 = static_cast<const A*>(call.layers[0]);
  view.bias2 = static_cast<const A*>(call.layers[1]);
  view.layer3 = static_cast<const A*>(call.layers[2]);
  view.bias3 = static_cast<const A*>(call.layers[3]);
  view.back2 = static_cast<const A*>(call.layers[4]);
  view.back3 = static_cast<const A*>(call.layers[5]);
  view.num_members = call.num_members;
  view.hidden1 = call.hidden1;
  view.hidden2 = call.hidden2;
  view.labels = call.labels;
  view.logits = static_cast<T*>(call.logits);
  view.grad_logits = static_cast<const T*>(call.grad_logits);
  view.tile = call.tile;
  const SerialTeam team{call.num_threads, call.backwards != 0};
  const auto bytes = static_cast<size_t>(tile_bytes(view));
  // Full of NaN, so that what is read before it is written shows; with a margin that must stay.
  std::vector<int64_t> shared((bytes + 7) / 8 + kMargin + 1);
  auto* begin = reinterpret_cast<unsigned char*>(shared.data());
  if (reinterpret_cast<uintptr_t>(begin) % 16 != 0) {
    begin += 8;
  }
  for (int64_t start = 0; start < view.num_pixels; start += view.tile) {
    std::memset(begin, 0xff, bytes + 8 * kMargin);
    if (call.grad_logits == nullptr) {
      segment_gather_tile(view, begin, start, team);
    } else {
      segment_gather_grad_tile(view, begin, start, team);
    }
    for (size_t i = bytes; i < bytes + 8 * kMargin; ++i) {
      if (begin[i] != 0xff) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

extern "C" {

int emulate_bias_act(int dtype, int wide, const void* grad, const void* x, const void* bias,
                     const void* noise, void* out, const int64_t* sizes, int activation,
                     double gain, double clamp) {
  return for_type(dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const auto run = wide ? bias_act<T, int64_t> : bias_act<T, int32_t>;
    run(grad, x, bias, noise, out, sizes, activation, gain, clamp);
  });
}

int emulate_upfirdn2d(int dtype, int wide, const void* x, void* out, const int* sizes, double gain,
                      const double* taps) {
  return for_type(dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const auto run = wide ? upfirdn2d<T, int64_t> : upfirdn2d<T, int32_t>;
    run(x, out, sizes, gain, taps);
  });
}

int emulate_segment_gather(int dtype, const SegmentGatherCall* call) {
  bool inside = true;
  const bool known = for_type(dtype, [&](auto* type) {
    inside = segment_gather<std::remove_pointer_t<decltype(type)>>(*call);
  });
  return known && inside;
}

}  // extern "C"
