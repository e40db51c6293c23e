// One element of bias_act and of its derivative: see element.h for why it stands apart.

#pragma once

#include "element.h"

namespace editvec {

enum class Activation : int { kLinear = 0, kLeakyRelu = 1 };

// Tensors as a kernel sees them. Elements lie densely in memory; of element i
//   channel  (i / channel_stride) % num_channels    stride = inner size, or 1 for channels_last
//   pixel    (i / pixel_stride) % num_pixels        stride = 1, or num_channels for channels_last
//   image    i / (num_channels * num_pixels)
template <typename T, typename Index>
struct BiasActView {
  using A = typename Accumulator<T>::type;

  const T* grad;   // gradient of the output; only for the derivative
  const T* x;
  const T* bias;   // [num_channels], or null
  const T* noise;  // [num_pixels], or [images, num_pixels], or null
  T* out;          // output, or gradient of x
  Index num_elements;
  Index num_channels;
  Index channel_stride;
  Index num_pixels;
  Index pixel_stride;
  Index noise_image_stride;  // 0: all images share the noise
  Activation activation;
  A gain;
  A clamp;  // negative: no clamp
};

template <typename A>
EDITVEC_BOTH inline A leaky_relu_slope() {
  return A(0.2);
}

template <typename T, typename Index>
EDITVEC_BOTH inline typename Accumulator<T>::type shifted(const BiasActView<T, Index>& view,
                                                          Index i) {
  using A = typename Accumulator<T>::type;
  A value = static_cast<A>(view.x[i]);
  if (view.noise != nullptr) {
    const Index pixel = (i / view.pixel_stride) % view.num_pixels;
    const Index image = i / (view.num_channels * view.num_pixels);
    value += static_cast<A>(view.noise[image * view.noise_image_stride + pixel]);
  }
  if (view.bias != nullptr) {
    value += static_cast<A>(view.bias[(i / view.channel_stride) % view.num_channels]);
  }
  return value;
}

// The activation before gain and clamp. NaN passes through, as it does in the reference.
template <typename A>
EDITVEC_BOTH inline A activate(A value, Activation activation) {
  if (activation == Activation::kLeakyRelu && !(value > A(0))) {
    return value * leaky_relu_slope<A>();
  }
  return value;
}

template <typename T, typename Index>
EDITVEC_BOTH inline void bias_act_element(const BiasActView<T, Index>& view, Index i) {
  using A = typename Accumulator<T>::type;
  A y = activate(shifted(view, i), view.activation) * view.gain;
  if (view.clamp >= A(0)) {
    y = y > view.clamp ? view.clamp : (y < -view.clamp ? -view.clamp : y);
  }
  view.out[i] = static_cast<T>(y);
}

template <typename T, typename Index>
EDITVEC_BOTH inline void bias_act_grad_element(const BiasActView<T, Index>& view, Index i) {
  using A = typename Accumulator<T>::type;
  const A value = shifted(view, i);
  A slope = view.gain;
  if (view.activation == Activation::kLeakyRelu && !(value > A(0))) {
    slope *= leaky_relu_slope<A>();
  }
  if (view.clamp >= A(0)) {
    const A y = activate(value, view.activation) * view.gain;
    if (!(y >= -view.clamp && y <= view.clamp)) {
      slope = A(0);
    }
  }
  view.out[i] = static_cast<T>(static_cast<A>(view.grad[i]) * slope);
}

}  // namespace editvec
