// The tensors and the memory of segment_gather: see element.h for why they stand apart, and
// segment_gather_tile.h for what is computed.

#pragma once

#include "element.h"

namespace editvec {

constexpr int kMaxScales = 16;

// Four numbers that are read and written as one. Sizes are padded to multiples of four.
template <typename T>
struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) Four {
  T values[4];
};

EDITVEC_BOTH inline int round_up_to_four(int size) { return (size + 3) / 4 * 4; }

// Tensors as the kernels see them; A is the type of the arithmetic. M = num_members * hidden1.
template <typename T>
struct SegmentGatherView {
  using A = typename Accumulator<T>::type;

  const T* maps[kMaxScales];  // each [images, height, width, M]
  A* grad_maps[kMaxScales];   // the same, to be added to; null: not asked for
  int images[kMaxScales];     // 1 where all images share the map
  int heights[kMaxScales];
  int widths[kMaxScales];
  int num_scales;
  int target_height;
  int target_width;

  const int64_t* pixels;  // [num_pixels, 3]: image, row, column on the target
  int64_t num_pixels;
  const T* addend;  // [num_pixels, M], or null
  T* grad_addend;   // the same, or null

  const A* layer2;  // [members, hidden1, hidden2], padded
  const A* bias2;   // [members, hidden2], padded
  const A* layer3;  // [members, hidden2, labels], padded
  const A* bias3;   // [labels], padded
  const A* back2;   // [members, hidden2, hidden1], padded; backward only
  const A* back3;   // [members, labels, hidden2], padded; backward only
  int num_members;
  int hidden1;  // without padding
  int hidden2;  // with padding
  int labels;   // without padding

  T* logits;             // [num_pixels, labels]; forward only
  const T* grad_logits;  // [num_pixels, labels]; backward only
  int tile;              // pixels of a tile, a multiple of four
};

// The memory that the threads of a tile share. Rows are padded by four numbers, so that eight
// pixels below each other lie in different banks.
template <typename A>
struct TileMemory {
  int64_t* offsets;  // [scales, tile, 4]: first element of the tap's row
  A* weights;        // [scales, tile, 4]
  A* hidden1;        // [tile, stride1]
  A* hidden2;        // [tile, stride2]
  A* labels;         // [tile, stride3]
  int stride1;
  int stride2;
  int stride3;
};

template <typename T>
EDITVEC_BOTH inline int64_t tile_bytes(const SegmentGatherView<T>& view) {
  using A = typename Accumulator<T>::type;
  const int64_t taps = static_cast<int64_t>(view.num_scales) * view.tile * 4;
  const int64_t row = round_up_to_four(view.hidden1) + view.hidden2 +
                      round_up_to_four(view.labels) + 12;
  return taps * static_cast<int64_t>(sizeof(int64_t) + sizeof(A)) +
         view.tile * row * static_cast<int64_t>(sizeof(A));
}

template <typename T>
EDITVEC_BOTH inline TileMemory<typename Accumulator<T>::type> divide_memory(
    const SegmentGatherView<T>& view, void* memory) {
  using A = typename Accumulator<T>::type;
  const int taps = view.num_scales * view.tile * 4;
  TileMemory<A> parts{};
  parts.stride1 = round_up_to_four(view.hidden1) + 4;
  parts.stride2 = view.hidden2 + 4;
  parts.stride3 = round_up_to_four(view.labels) + 4;
  parts.offsets = static_cast<int64_t*>(memory);
  parts.weights = reinterpret_cast<A*>(parts.offsets + taps);
  parts.hidden1 = parts.weights + taps;
  parts.hidden2 = parts.hidden1 + view.tile * parts.stride1;
  parts.labels = parts.hidden2 + view.tile * parts.stride2;
  return parts;
}

}  // namespace editvec
