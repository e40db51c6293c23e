// One strip of upfirdn2d: see element.h for why it stands apart.

#pragma once

#include "element.h"

namespace editvec {

constexpr int kMaxTaps = 16;
constexpr int kStripRows = 4;

// Tensors as a kernel sees them. With zeros inserted, the input has a value where both positions
// are multiples of `up`; output position o reads the positions o * down - pad ... + num_taps - 1.
template <typename T, typename Index>
struct Upfirdn2dView {
  using A = typename Accumulator<T>::type;

  const T* x;  // [num_images, num_channels, in_height, in_width], contiguous or channels_last
  T* out;      // [num_images, num_channels, out_height, out_width], lies as x does
  Index num_strips;  // num_images * num_channels * strips_per_column * out_width
  Index num_channels;
  int strips_per_column;
  int in_height;
  int in_width;
  int out_height;
  int out_width;
  int up;
  int down;
  int pad;  // before the first row and column; negative: cut off
  int num_taps;
  bool channels_last;
  A gain;
  A taps[kMaxTaps];
};

// Where a strip lies: up to kStripRows outputs below each other. Neighbouring strips are
// neighbours in memory, so that the threads of a warp read and write side by side.
template <typename Index>
struct Strip {
  Index image;
  Index channel;
  int column;
  int first_row;
};

template <typename T, typename Index>
EDITVEC_BOTH inline Strip<Index> locate_strip(const Upfirdn2dView<T, Index>& view, Index i) {
  const Index width = view.out_width;
  const Index strips = view.strips_per_column;
  Strip<Index> strip{};
  if (view.channels_last) {
    strip.channel = i % view.num_channels;
    i /= view.num_channels;
  }
  strip.column = static_cast<int>(i % width);
  i /= width;
  strip.first_row = static_cast<int>(i % strips) * kStripRows;
  i /= strips;
  if (!view.channels_last) {
    strip.channel = i % view.num_channels;
    i /= view.num_channels;
  }
  strip.image = i;
  return strip;
}

template <typename T, typename Index>
EDITVEC_BOTH inline void upfirdn2d_strip(const Upfirdn2dView<T, Index>& view, Index i) {
  using A = typename Accumulator<T>::type;
  const Strip<Index> strip = locate_strip(view, i);
  const Index plane = strip.image * view.num_channels + strip.channel;
  const Index stride = view.channels_last ? view.num_channels : 1;
  const Index in_size = static_cast<Index>(view.in_height) * view.in_width;
  const Index out_size = static_cast<Index>(view.out_height) * view.out_width;
  const Index channels = view.num_channels;
  const T* x = view.x + (view.channels_last ? strip.image * in_size * channels + strip.channel
                                            : plane * in_size);
  T* out = view.out + (view.channels_last ? strip.image * out_size * channels + strip.channel
                                          : plane * out_size);

  // Input rows that any output of the strip reads.
  const int rows = least(kStripRows, view.out_height - strip.first_row);
  const int top = strip.first_row * view.down - view.pad;
  const int bottom = top + (rows - 1) * view.down + view.num_taps - 1;
  const int low = top <= 0 ? 0 : (top + view.up - 1) / view.up;
  const int high = bottom < 0 ? -1 : least(bottom / view.up, view.in_height - 1);

  // The first tap that meets a value of the row, and not an inserted zero or what is outside.
  const int left = strip.column * view.down - view.pad;
  const int first_column = left <= 0 ? 0 : (left + view.up - 1) / view.up;
  const int first_tap = first_column * view.up - left;

  A sums[kStripRows] = {A(0), A(0), A(0), A(0)};
  for (int row = low; row <= high; ++row) {
    A across = A(0);
    int column = first_column;
    for (int tap = first_tap; tap < view.num_taps && column < view.in_width; tap += view.up) {
      const Index pixel = static_cast<Index>(row) * view.in_width + column;
      across += view.taps[tap] * static_cast<A>(x[pixel * stride]);
      ++column;
    }
    for (int r = 0; r < kStripRows; ++r) {
      const int tap = row * view.up - top - r * view.down;
      if (tap >= 0 && tap < view.num_taps) {
        sums[r] += view.taps[tap] * across;
      }
    }
  }
  for (int r = 0; r < kStripRows; ++r) {
    if (r < rows) {
      const Index pixel = static_cast<Index>(strip.first_row + r) * view.out_width + strip.column;
      out[pixel * stride] = static_cast<T>(sums[r] * view.gain);
    }
  }
}

}  // namespace editvec
