// What the arithmetic of all kernels shares. Headers of this kind need neither CUDA nor PyTorch:
// a bare C++ compiler takes them, so that a test can run the same lines on a machine without a GPU.

#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define EDITVEC_BOTH __host__ __device__
#else
#define EDITVEC_BOTH
#endif

namespace editvec {

enum class DType : int { kFloat16 = 0, kBFloat16 = 1, kFloat32 = 2, kFloat64 = 3 };

// Arithmetic happens in float for the 16-bit types and in the type itself otherwise.
template <typename T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};

// Leaves NaN as it is, like torch's.
template <typename A>
EDITVEC_BOTH inline A relu(A value) {
  return value < A(0) ? A(0) : value;
}

template <typename I>
EDITVEC_BOTH inline I least(I a, I b) {
  return b < a ? b : a;
}

template <typename I>
EDITVEC_BOTH inline I clamp_index(I value, I size) {
  return value < 0 ? 0 : (value >= size ? size - 1 : value);
}

}  // namespace editvec
