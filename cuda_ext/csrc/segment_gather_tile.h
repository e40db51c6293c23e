// One tile of pixels of segment_gather: see element.h for why it stands apart.
//
// A tile goes through the members one after the other, in memory that its threads share:
//
//   taps      where each pixel lies on each map, and the four weights
//   hidden1   relu(sum of the maps at the pixel)        [tile, H1], then its gradient
//   hidden2   relu(hidden1 * layer2 + bias2)            [tile, H2], then its gradient
//   labels    sum over the members of hidden2 * layer3  [tile, K], or the gradient of the logits
//
// The steps of a tile are divided among its threads by `team.each`, which also waits until all of
// them are done. Within a step no thread reads what another one writes.

#pragma once

#include "element.h"
#include "segment_gather_view.h"

namespace editvec {

// The two source positions that a target position lies between (half-pixel convention).
template <typename A>
struct AxisTaps {
  int low;
  int high;
  A weight;  // share of the second one
};

template <typename A>
EDITVEC_BOTH inline AxisTaps<A> axis_taps(int64_t position, int source, int target) {
  const A scale = static_cast<A>(static_cast<double>(source) / target);
  const A coordinate = (static_cast<A>(position) + A(0.5)) * scale - A(0.5);
  const A inside = coordinate < A(0) ? A(0) : coordinate;
  const int low = least(static_cast<int>(inside), source - 1);
  return {low, least(low + 1, source - 1), inside - static_cast<A>(low)};
}

// A pixel outside of the images is moved to their edge: nothing is read or written elsewhere.
template <typename T>
EDITVEC_BOTH inline void locate_taps(const SegmentGatherView<T>& view,
                                     const TileMemory<typename Accumulator<T>::type>& memory,
                                     int64_t start, int thread, int num_threads) {
  using A = typename Accumulator<T>::type;
  const int64_t row_size = static_cast<int64_t>(view.num_members) * view.hidden1;
  for (int item = thread; item < view.num_scales * view.tile; item += num_threads) {
    const int scale = item / view.tile;
    const int64_t index = start + item % view.tile;
    int64_t* offsets = memory.offsets + 4 * item;
    A* weights = memory.weights + 4 * item;
    if (index >= view.num_pixels) {
      for (int tap = 0; tap < 4; ++tap) {
        offsets[tap] = 0;
        weights[tap] = A(0);
      }
      continue;
    }
    const int64_t* pixel = view.pixels + 3 * index;
    const int height = view.heights[scale];
    const int width = view.widths[scale];
    const int64_t image = clamp_index<int64_t>(pixel[0], view.images[scale]);
    const int64_t y = clamp_index<int64_t>(pixel[1], view.target_height);
    const int64_t x = clamp_index<int64_t>(pixel[2], view.target_width);
    const AxisTaps<A> down = axis_taps<A>(y, height, view.target_height);
    const AxisTaps<A> across = axis_taps<A>(x, width, view.target_width);
    for (int tap = 0; tap < 4; ++tap) {
      const int64_t line = tap < 2 ? down.low : down.high;
      const int64_t column = tap % 2 == 0 ? across.low : across.high;
      offsets[tap] = ((image * height + line) * width + column) * row_size;
      weights[tap] = (tap < 2 ? A(1) - down.weight : down.weight) *
                     (tap % 2 == 0 ? A(1) - across.weight : across.weight);
    }
  }
}

// sums += weight * four values, as far as there are any.
template <typename T, typename A>
EDITVEC_BOTH inline void add_four(const T* values, int count, bool aligned, A weight, A* sums) {
  if (aligned) {
    const Four<T> four = *reinterpret_cast<const Four<T>*>(values);
    for (int j = 0; j < 4; ++j) {
      sums[j] += weight * static_cast<A>(four.values[j]);
    }
    return;
  }
  for (int j = 0; j < count; ++j) {
    sums[j] += weight * static_cast<A>(values[j]);
  }
}

template <typename T>
EDITVEC_BOTH inline void gather_hidden1(const SegmentGatherView<T>& view,
                                        const TileMemory<typename Accumulator<T>::type>& memory,
                                        int64_t start, int member, int thread, int num_threads) {
  using A = typename Accumulator<T>::type;
  const int fours = round_up_to_four(view.hidden1) / 4;
  const int64_t row_size = static_cast<int64_t>(view.num_members) * view.hidden1;
  const bool aligned = view.hidden1 % 4 == 0;
  for (int item = thread; item < view.tile * fours; item += num_threads) {
    const int pixel = item / fours;
    const int first = item % fours * 4;
    const int64_t channel = static_cast<int64_t>(member) * view.hidden1 + first;
    const int count = least(4, view.hidden1 - first);
    A sums[4] = {A(0), A(0), A(0), A(0)};
    for (int scale = 0; scale < view.num_scales; ++scale) {
      const int taps = (scale * view.tile + pixel) * 4;
      for (int tap = 0; tap < 4; ++tap) {
        const A weight = memory.weights[taps + tap];
        if (weight != A(0)) {
          add_four(view.maps[scale] + memory.offsets[taps + tap] + channel, count, aligned, weight,
                   sums);
        }
      }
    }
    if (view.addend != nullptr && start + pixel < view.num_pixels) {
      add_four(view.addend + (start + pixel) * row_size + channel, count, aligned, A(1), sums);
    }
    for (int j = 0; j < 4; ++j) {
      memory.hidden1[pixel * memory.stride1 + first + j] = relu(sums[j]);
    }
  }
}

// in [tile, in_size] times weight [in_size, out_size], four pixels by four outputs at a time; what
// to do with the four sums is said by use(pixel, first_output, sums). Sizes are padded.
template <typename A, typename Use>
EDITVEC_BOTH inline void multiply_tile(const A* in, int in_stride, int in_size, const A* weight,
                                       int out_size, int tile, int thread, int num_threads,
                                       const Use& use) {
  const int groups = tile / 4;
  for (int item = thread; item < groups * (out_size / 4); item += num_threads) {
    const int group = item % groups;
    const int first = item / groups * 4;
    A sums[4][4] = {};
    for (int k = 0; k < in_size; k += 4) {
      Four<A> columns[4];
      for (int j = 0; j < 4; ++j) {
        const int64_t row = static_cast<int64_t>(k + j) * out_size + first;
        columns[j] = *reinterpret_cast<const Four<A>*>(weight + row);
      }
      for (int i = 0; i < 4; ++i) {
        const int pixel = group + groups * i;
        const Four<A> x = *reinterpret_cast<const Four<A>*>(in + pixel * in_stride + k);
        for (int j = 0; j < 4; ++j) {
          for (int o = 0; o < 4; ++o) {
            sums[i][o] += x.values[j] * columns[j].values[o];
          }
        }
      }
    }
    for (int i = 0; i < 4; ++i) {
      use(group + groups * i, first, sums[i]);
    }
  }
}

template <typename T>
EDITVEC_BOTH inline void compute_hidden2(const SegmentGatherView<T>& view,
                                         const TileMemory<typename Accumulator<T>::type>& memory,
                                         int member, int thread, int num_threads) {
  using A = typename Accumulator<T>::type;
  const int size1 = round_up_to_four(view.hidden1);
  const A* weight = view.layer2 + static_cast<int64_t>(member) * size1 * view.hidden2;
  const A* bias = view.bias2 + static_cast<int64_t>(member) * view.hidden2;
  multiply_tile(memory.hidden1, memory.stride1, size1, weight, view.hidden2, view.tile, thread,
                num_threads, [&](int pixel, int first, const A* sums) {
                  A* out = memory.hidden2 + pixel * memory.stride2 + first;
                  for (int j = 0; j < 4; ++j) {
                    out[j] = relu(sums[j] + bias[first + j]);
                  }
                });
}

template <typename T>
EDITVEC_BOTH inline void add_labels(const SegmentGatherView<T>& view,
                                    const TileMemory<typename Accumulator<T>::type>& memory,
                                    int member, int thread, int num_threads) {
  using A = typename Accumulator<T>::type;
  const int size3 = round_up_to_four(view.labels);
  const A* weight = view.layer3 + static_cast<int64_t>(member) * view.hidden2 * size3;
  multiply_tile(memory.hidden2, memory.stride2, view.hidden2, weight, size3, view.tile, thread,
                num_threads, [&](int pixel, int first, const A* sums) {
                  A* out = memory.labels + pixel * memory.stride3 + first;
                  for (int j = 0; j < 4; ++j) {
                    out[j] += sums[j];
                  }
                });
}

// Layer 3 backwards: the gradient of hidden2 takes the place of hidden2.
template <typename T>
EDITVEC_BOTH inline void derive_hidden2(const SegmentGatherView<T>& view,
                                        const TileMemory<typename Accumulator<T>::type>& memory,
                                        int member, int thread, int num_threads) {
  using A = typename Accumulator<T>::type;
  const int size3 = round_up_to_four(view.labels);
  const A* weight = view.back3 + static_cast<int64_t>(member) * size3 * view.hidden2;
  multiply_tile(memory.labels, memory.stride3, size3, weight, view.hidden2, view.tile, thread,
                num_threads, [&](int pixel, int first, const A* sums) {
                  A* out = memory.hidden2 + pixel * memory.stride2 + first;
                  for (int j = 0; j < 4; ++j) {
                    out[j] = out[j] <= A(0) ? A(0) : sums[j];
                  }
                });
}

// Layer 2 backwards: the gradient of hidden1 takes the place of hidden1.
template <typename T>
EDITVEC_BOTH inline void derive_hidden1(const SegmentGatherView<T>& view,
                                        const TileMemory<typename Accumulator<T>::type>& memory,
                                        int member, int thread, int num_threads) {
  using A = typename Accumulator<T>::type;
  const int size1 = round_up_to_four(view.hidden1);
  const A* weight = view.back2 + static_cast<int64_t>(member) * view.hidden2 * size1;
  multiply_tile(memory.hidden2, memory.stride2, view.hidden2, weight, size1, view.tile, thread,
                num_threads, [&](int pixel, int first, const A* sums) {
                  A* out = memory.hidden1 + pixel * memory.stride1 + first;
                  for (int j = 0; j < 4; ++j) {
                    out[j] = out[j] <= A(0) ? A(0) : sums[j];
                  }
                });
}

// Pixels share taps, also with those of other tiles.
template <typename A>
EDITVEC_BOTH inline void add_atomically(A* target, A value) {
#ifdef __CUDA_ARCH__
  atomicAdd(target, value);
#else
  *target += value;
#endif
}

template <typename T>
EDITVEC_BOTH inline void scatter_gradient(const SegmentGatherView<T>& view,
                                          const TileMemory<typename Accumulator<T>::type>& memory,
                                          int64_t start, int member, int thread, int num_threads) {
  using A = typename Accumulator<T>::type;
  const int64_t row_size = static_cast<int64_t>(view.num_members) * view.hidden1;
  for (int item = thread; item < view.tile * view.hidden1; item += num_threads) {
    const int pixel = item / view.hidden1;
    const int own = item % view.hidden1;
    if (start + pixel >= view.num_pixels) {
      continue;
    }
    const int64_t channel = static_cast<int64_t>(member) * view.hidden1 + own;
    const A grad = memory.hidden1[pixel * memory.stride1 + own];
    for (int scale = 0; scale < view.num_scales; ++scale) {
      const int taps = (scale * view.tile + pixel) * 4;
      for (int tap = 0; tap < 4 && view.grad_maps[scale] != nullptr; ++tap) {
        const A weight = memory.weights[taps + tap];
        if (weight != A(0)) {
          add_atomically(view.grad_maps[scale] + memory.offsets[taps + tap] + channel,
                         weight * grad);
        }
      }
    }
    if (view.grad_addend != nullptr) {
      view.grad_addend[(start + pixel) * row_size + channel] = static_cast<T>(grad);
    }
  }
}

// The logits of the pixels start, start + 1, ... start + tile - 1.
template <typename T, typename Team>
EDITVEC_BOTH inline void segment_gather_tile(const SegmentGatherView<T>& view, void* shared,
                                             int64_t start, const Team& team) {
  const auto memory = divide_memory(view, shared);
  const int size3 = round_up_to_four(view.labels);
  team.each([&](int thread, int num_threads) {
    locate_taps(view, memory, start, thread, num_threads);
    for (int item = thread; item < view.tile * size3; item += num_threads) {
      memory.labels[item / size3 * memory.stride3 + item % size3] = view.bias3[item % size3];
    }
  });
  for (int member = 0; member < view.num_members; ++member) {
    team.each([&](int thread, int num_threads) {
      gather_hidden1(view, memory, start, member, thread, num_threads);
    });
    team.each([&](int thread, int num_threads) {
      compute_hidden2(view, memory, member, thread, num_threads);
    });
    team.each([&](int thread, int num_threads) {
      add_labels(view, memory, member, thread, num_threads);
    });
  }
  team.each([&](int thread, int num_threads) {
    for (int item = thread; item < view.tile * view.labels; item += num_threads) {
      const int64_t pixel = start + item / view.labels;
      const int label = item % view.labels;
      if (pixel < view.num_pixels) {
        view.logits[pixel * view.labels + label] =
            static_cast<T>(memory.labels[item / view.labels * memory.stride3 + label]);
      }
    }
  });
}

// The gradients with respect to maps and addend; hidden maps are computed again.
template <typename T, typename Team>
EDITVEC_BOTH inline void segment_gather_grad_tile(const SegmentGatherView<T>& view, void* shared,
                                                  int64_t start, const Team& team) {
  using A = typename Accumulator<T>::type;
  const auto memory = divide_memory(view, shared);
  const int size3 = round_up_to_four(view.labels);
  team.each([&](int thread, int num_threads) {
    locate_taps(view, memory, start, thread, num_threads);
    for (int item = thread; item < view.tile * size3; item += num_threads) {
      const int64_t pixel = start + item / size3;
      const int label = item % size3;
      const bool exists = pixel < view.num_pixels && label < view.labels;
      memory.labels[item / size3 * memory.stride3 + label] =
          exists ? static_cast<A>(view.grad_logits[pixel * view.labels + label]) : A(0);
    }
  });
  for (int member = 0; member < view.num_members; ++member) {
    team.each([&](int thread, int num_threads) {
      gather_hidden1(view, memory, start, member, thread, num_threads);
    });
    team.each([&](int thread, int num_threads) {
      compute_hidden2(view, memory, member, thread, num_threads);
    });
    team.each([&](int thread, int num_threads) {
      derive_hidden2(view, memory, member, thread, num_threads);
    });
    team.each([&](int thread, int num_threads) {
      derive_hidden1(view, memory, member, thread, num_threads);
    });
    team.each([&](int thread, int num_threads) {
      scatter_gradient(view, memory, start, member, thread, num_threads);
    });
  }
}

}  // namespace editvec
