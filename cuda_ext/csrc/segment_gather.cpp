// The operators editvec::segment_gather and editvec::segment_gather_grad: check every precondition,
// then launch.

#include "segment_gather.h"

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>
#include <optional>
#include <vector>

#include "checks.h"

namespace editvec {
namespace {

constexpr int64_t kAlignment = 16;  // four floats are read at once
constexpr int64_t kMaxSide = 1 << 20;

struct Sizes {
  int64_t hidden1;
  int64_t num_labels;
  int64_t target_height;
  int64_t target_width;
};

at::ScalarType arithmetic_type(const at::Tensor& maps) {
  return maps.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

void check_layer(const char* name, const at::Tensor& layer, const at::Tensor& maps,
                 at::IntArrayRef shape) {
  TORCH_CHECK_VALUE(layer.sizes() == shape, name, " must have shape ", shape, ", got ",
                    layer.sizes());
  TORCH_CHECK_TYPE(layer.scalar_type() == arithmetic_type(maps), name, " must be ",
                   arithmetic_type(maps), " for maps of ", maps.scalar_type(), ", got ",
                   layer.scalar_type());
  TORCH_CHECK_VALUE(layer.device() == maps.device(), name, " must be on ", maps.device(),
                    " as the maps are, got ", layer.device());
  TORCH_CHECK_VALUE(layer.is_contiguous(), name, " must be contiguous");
  check_aligned(name, layer, kAlignment);
}

void check_rows(const char* name, const at::Tensor& rows, const at::Tensor& maps, int64_t count,
                int64_t width) {
  TORCH_CHECK_VALUE(rows.dim() == 2 && rows.size(0) == count && rows.size(1) == width, name,
                    " must have shape [", count, ", ", width, "], got ", rows.sizes());
  check_like(name, rows, "maps[0]", maps);
  TORCH_CHECK_VALUE(rows.is_contiguous(), name, " must be contiguous");
  check_aligned(name, rows, kAlignment);
}

int64_t padded(int64_t size) { return (size + 3) / 4 * 4; }

// What both operators check and fill in.
SegmentGatherArguments check(const std::vector<at::Tensor>& maps, const at::Tensor& pixels,
                             const std::optional<at::Tensor>& addend, const at::Tensor& layer2,
                             const at::Tensor& bias2, const Sizes& sizes) {
  const auto num_scales = static_cast<int64_t>(maps.size());
  TORCH_CHECK_VALUE(num_scales >= 1 && num_scales <= kMaxScales, "maps must be 1 to ", kMaxScales,
                    " tensors, got ", num_scales);
  const at::Tensor& first = maps[0];
  TORCH_CHECK_VALUE(first.is_cuda(), "maps[0] must be on a CUDA device, got ", first.device());
  TORCH_CHECK_VALUE(layer2.dim() == 3, "layer2 must be [members, hidden1, hidden2], got ",
                    layer2.sizes());
  TORCH_CHECK_VALUE(sizes.hidden1 >= 1 && sizes.num_labels >= 1,
                    "hidden1 and num_labels must be at least 1, got ", sizes.hidden1, " and ",
                    sizes.num_labels);
  const int64_t members = layer2.size(0);
  const int64_t hidden2 = layer2.size(2);
  const int64_t width = members * sizes.hidden1;
  TORCH_CHECK_VALUE(hidden2 % 4 == 0, "layer2 must be padded to multiples of 4, got ",
                    layer2.sizes());
  check_layer("layer2", layer2, first, {members, padded(sizes.hidden1), hidden2});
  check_layer("bias2", bias2, first, {members, hidden2});
  TORCH_CHECK_VALUE(
      sizes.target_height >= 1 && sizes.target_height <= kMaxSide && sizes.target_width >= 1 &&
          sizes.target_width <= kMaxSide,
      "the target must have sides of 1 to ", kMaxSide, ", got ", sizes.target_height, " and ",
      sizes.target_width);
  SegmentGatherArguments arguments{};
  for (int64_t scale = 0; scale < num_scales; ++scale) {
    const at::Tensor& map = maps[scale];
    TORCH_CHECK_VALUE(map.dim() == 4 && map.size(3) == width && map.numel() > 0, "maps[", scale,
                      "] must have shape [images, height, width, ", width, "] without a zero, got ",
                      map.sizes());
    check_like("a map", map, "maps[0]", first);
    TORCH_CHECK_VALUE(map.is_contiguous(), "maps[", scale, "] must be contiguous");
    TORCH_CHECK_VALUE(map.size(0) <= std::numeric_limits<int32_t>::max() &&
                          map.size(1) <= kMaxSide && map.size(2) <= kMaxSide,
                      "maps[", scale, "] must have sides of at most ", kMaxSide, ", got ",
                      map.sizes());
    check_aligned("a map", map, kAlignment);
    arguments.maps[scale] = map.const_data_ptr();
    arguments.images[scale] = static_cast<int>(map.size(0));
    arguments.heights[scale] = static_cast<int>(map.size(1));
    arguments.widths[scale] = static_cast<int>(map.size(2));
  }
  TORCH_CHECK_TYPE(pixels.scalar_type() == at::kLong, "pixels must be int64, got ",
                   pixels.scalar_type());
  TORCH_CHECK_VALUE(pixels.dim() == 2 && pixels.size(1) == 3 && pixels.is_contiguous(),
                    "pixels must be contiguous [P, 3], got ", pixels.sizes());
  TORCH_CHECK_VALUE(pixels.device() == first.device(), "pixels must be on ", first.device(),
                    " as the maps are, got ", pixels.device());
  if (addend.has_value()) {
    check_rows("addend", *addend, first, pixels.size(0), width);
    arguments.addend = addend->const_data_ptr();
  }
  arguments.num_scales = static_cast<int>(num_scales);
  arguments.target_height = static_cast<int>(sizes.target_height);
  arguments.target_width = static_cast<int>(sizes.target_width);
  arguments.pixels = pixels.const_data_ptr<int64_t>();
  arguments.num_pixels = pixels.size(0);
  arguments.layer2 = layer2.const_data_ptr();
  arguments.bias2 = bias2.const_data_ptr();
  arguments.num_members = static_cast<int>(members);
  arguments.hidden1 = static_cast<int>(sizes.hidden1);
  arguments.hidden2 = static_cast<int>(hidden2);
  arguments.labels = static_cast<int>(sizes.num_labels);
  arguments.dtype = to_dtype("maps[0]", first.scalar_type());
  return arguments;
}

void check_launch(cudaError_t status) {
  TORCH_CHECK_VALUE(status != cudaErrorInvalidConfiguration,
                    "the hidden layers must be small enough for 4 pixels to fit the shared memory "
                    "of a block on this device");
  C10_CUDA_CHECK(status);
}

at::Tensor segment_gather(at::TensorList map_list, const at::Tensor& pixels,
                          const std::optional<at::Tensor>& addend, const at::Tensor& layer2,
                          const at::Tensor& bias2, const at::Tensor& layer3,
                          const at::Tensor& bias3, int64_t hidden1, int64_t num_labels,
                          int64_t target_height, int64_t target_width) {
  const std::vector<at::Tensor> maps = map_list.vec();
  const Sizes sizes{hidden1, num_labels, target_height, target_width};
  SegmentGatherArguments arguments = check(maps, pixels, addend, layer2, bias2, sizes);
  check_layer("layer3", layer3, maps[0], {layer2.size(0), layer2.size(2), padded(num_labels)});
  check_layer("bias3", bias3, maps[0], {padded(num_labels)});
  const c10::cuda::CUDAGuard guard(maps[0].device());
  at::Tensor logits = at::empty({pixels.size(0), num_labels}, maps[0].options());
  arguments.layer3 = layer3.const_data_ptr();
  arguments.bias3 = bias3.const_data_ptr();
  arguments.logits = logits.mutable_data_ptr();
  check_launch(launch_segment_gather(arguments, c10::cuda::getCurrentCUDAStream()));
  return logits;
}

// Gradients of the maps, of the arithmetic's type, then that of the addend if there is one.
std::vector<at::Tensor> segment_gather_grad(
    const at::Tensor& grad, at::TensorList map_list, const at::Tensor& pixels,
    const std::optional<at::Tensor>& addend, const at::Tensor& layer2, const at::Tensor& bias2,
    const at::Tensor& back2, const at::Tensor& back3, int64_t hidden1, int64_t num_labels,
    int64_t target_height, int64_t target_width) {
  const std::vector<at::Tensor> maps = map_list.vec();
  const Sizes sizes{hidden1, num_labels, target_height, target_width};
  SegmentGatherArguments arguments = check(maps, pixels, addend, layer2, bias2, sizes);
  check_layer("back2", back2, maps[0], {layer2.size(0), layer2.size(2), padded(hidden1)});
  check_layer("back3", back3, maps[0], {layer2.size(0), padded(num_labels), layer2.size(2)});
  check_rows("grad", grad, maps[0], pixels.size(0), num_labels);
  const c10::cuda::CUDAGuard guard(maps[0].device());
  std::vector<at::Tensor> grads;
  for (size_t scale = 0; scale < maps.size(); ++scale) {
    const auto options = maps[scale].options().dtype(arithmetic_type(maps[scale]));
    grads.push_back(at::zeros(maps[scale].sizes(), options));
    arguments.grad_maps[scale] = grads.back().mutable_data_ptr();
  }
  if (addend.has_value()) {
    grads.push_back(at::empty_like(*addend));
    arguments.grad_addend = grads.back().mutable_data_ptr();
  }
  arguments.back2 = back2.const_data_ptr();
  arguments.back3 = back3.const_data_ptr();
  arguments.grad_logits = grad.const_data_ptr();
  check_launch(launch_segment_gather_grad(arguments, c10::cuda::getCurrentCUDAStream()));
  return grads;
}

}  // namespace
}  // namespace editvec

TORCH_LIBRARY_FRAGMENT(editvec, library) {
  library.def(
      "segment_gather(Tensor[] maps, Tensor pixels, Tensor? addend, Tensor layer2, Tensor bias2,"
      " Tensor layer3, Tensor bias3, int hidden1, int num_labels, int target_height,"
      " int target_width) -> Tensor");
  library.def(
      "segment_gather_grad(Tensor grad, Tensor[] maps, Tensor pixels, Tensor? addend,"
      " Tensor layer2, Tensor bias2, Tensor back2, Tensor back3, int hidden1, int num_labels,"
      " int target_height, int target_width) -> Tensor[]");
}

TORCH_LIBRARY_IMPL(editvec, CUDA, library) {
  library.impl("segment_gather", &editvec::segment_gather);
  library.impl("segment_gather_grad", &editvec::segment_gather_grad);
}
