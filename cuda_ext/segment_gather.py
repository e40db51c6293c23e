"""Logits of a list of pixels from projected feature maps of several sizes, as one operation.

The maps hold the first layer of an ensemble of E pixel classifiers, each at its own size:

    hidden1 = relu(sum over the maps of their bilinear values at the pixel)    [P, E, H1]
    hidden2 = relu(weight2[e] hidden1[e] + bias2[e])                           [P, E, H2]
    logits  = weight3 hidden2 + bias3                                          [P, K]

No tensor of the images' size is made, and the kernel makes none of hidden values at all.
`segment_gather_reference` defines the operation; the CUDA kernel is right when it equals the
reference.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from editvec.cuda_ext.bilinear import gather_bilinear, pixel_rows
from editvec.cuda_ext.dispatch import takes_kernel
from editvec.cuda_ext.errors import OperandError

MAX_MAPS = 16


class PixelLayers(NamedTuple):
    """The small layers behind the maps; E members, K labels.

    Attributes:
        weight2: [E, H2, H1].
        bias2: [E, H2, 1].
        weight3: [K, E*H2].
        bias3: [K, 1].
    """

    weight2: Tensor
    bias2: Tensor
    weight3: Tensor
    bias3: Tensor


def segment_gather(
    maps: Sequence[Tensor],
    pixels: Tensor,
    layers: PixelLayers,
    *,
    size: tuple[int, int],
    addend: Tensor | None = None,
) -> Tensor:
    """Gather maps at a list of pixels, add them, and run the small layers.

    Where `cuda_ext/dispatch.py` chooses it, one CUDA kernel does it all. Maps and addend have any
    derivative; beyond the first one, and where a layer asks for one, the reference runs.

    Args:
        maps: 1 to 16 floating-point tensors [N, E*H1, h_i, w_i]; [1, E*H1, h_i, w_i] where all
            images share one. channels_last is taken as it is, other layouts are copied.
        pixels: (n, y, x) on images of `size`, int64 [P, 3].
        layers: The layers behind, of the maps' dtype and device.
        size: (H, W) that the maps stand for.
        addend: What else joins `hidden1` before its ReLU, [P, E*H1].

    Returns:
        Logits [P, K] of the maps' dtype.

    Raises:
        OperandError: A tensor does not fit the description above, or a pixel lies outside.

    Example:
        >>> layers = PixelLayers(*(torch.ones(s) for s in ((2, 3, 4), (2, 3, 1), (5, 6), (5, 1))))
        >>> maps = [torch.ones(1, 8, 2, 2), torch.ones(1, 8, 4, 4)]
        >>> segment_gather(maps, torch.tensor([[0, 1, 3]]), layers, size=(4, 4)).shape
        torch.Size([1, 5])
    """
    implementation = segment_gather_reference
    derives_layers = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in layers)
    if maps and not derives_layers and takes_kernel("segment_gather", maps[0]):
        implementation = segment_gather_cuda
    return implementation(maps, pixels, layers, size=size, addend=addend)


def segment_gather_reference(
    maps: Sequence[Tensor],
    pixels: Tensor,
    layers: PixelLayers,
    *,
    size: tuple[int, int],
    addend: Tensor | None = None,
) -> Tensor:
    """The definition of `segment_gather` in PyTorch operations, on any device."""
    _check_operands(maps, pixels, layers, size=size, addend=addend)
    count = max(len(tensor) for tensor in maps)
    total: Tensor | None = None
    for tensor in maps:
        own = pixels * pixels.new_tensor([0, 1, 1]) if len(tensor) < count else pixels
        source = (tensor.shape[2], tensor.shape[3])
        values = gather_bilinear(pixel_rows(tensor), own, source=source, target=size)
        total = values if total is None else total + values
    assert total is not None
    if addend is not None:
        total = total + addend
    members, width2, width1 = layers.weight2.shape
    hidden1 = total.to(maps[0].dtype).t().relu_().reshape(members, width1, len(pixels))
    hidden2 = (layers.weight2 @ hidden1).add_(layers.bias2).relu_()
    return (layers.weight3 @ hidden2.view(members * width2, -1) + layers.bias3).t()


def segment_gather_cuda(
    maps: Sequence[Tensor],
    pixels: Tensor,
    layers: PixelLayers,
    *,
    size: tuple[int, int],
    addend: Tensor | None = None,
) -> Tensor:
    """`segment_gather` as one CUDA kernel; `load_extension()` must have succeeded."""
    _check_operands(maps, pixels, layers, size=size, addend=addend)
    settings = _GatherSettings(
        _pack(layers), layers, layers.weight2.shape[2], len(layers.weight3), size
    )
    rows = [_aligned(tensor.permute(0, 2, 3, 1)) for tensor in maps]
    if addend is not None:
        addend = _aligned(addend)
    logits: Tensor = _SegmentGather.apply(pixels.contiguous(), settings, addend, *rows)
    return logits


class PackedLayers(NamedTuple):
    """The layers as the kernels read them: [in, out] per member, padded to multiples of four.

    Attributes:
        layer2: [E, H1, H2].
        bias2: [E, H2].
        layer3: [E, H2, K].
        bias3: [K].
        back2: [E, H2, H1].
        back3: [E, K, H2].
    """

    layer2: Tensor
    bias2: Tensor
    layer3: Tensor
    bias3: Tensor
    back2: Tensor
    back3: Tensor


def _pack(layers: PixelLayers) -> PackedLayers:
    """Bring the layers into the kernels' order and type of arithmetic."""
    members, width2, _ = layers.weight2.shape
    weight3 = layers.weight3.detach().view(-1, members, width2)  # [K, E, H2]
    weight2 = layers.weight2.detach()
    packed = PackedLayers(
        layer2=weight2.transpose(1, 2),
        bias2=layers.bias2.detach()[:, :, 0],
        layer3=weight3.permute(1, 2, 0),
        bias3=layers.bias3.detach()[:, 0],
        back2=weight2,
        back3=weight3.transpose(0, 1),
    )
    return PackedLayers(*(_pad(tensor) for tensor in packed))


def _pad(tensor: Tensor) -> Tensor:
    """Zeros up to multiples of four on all axes but a leading member axis."""
    padded = tensor.ndim - 1 if tensor.ndim > 1 else 1
    sides = [side for size in tensor.shape[: -padded - 1 : -1] for side in (0, -size % 4)]
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    return _aligned(F.pad(tensor.to(dtype), sides))


def _aligned(tensor: Tensor) -> Tensor:
    """Contiguous, from an address on that four floats can be read at once."""
    tensor = tensor.contiguous()
    return tensor if tensor.data_ptr() % 16 == 0 else tensor.clone()


class _GatherSettings(NamedTuple):
    """What the operation takes besides what it derives."""

    packed: PackedLayers
    layers: PixelLayers
    hidden1: int
    num_labels: int
    size: tuple[int, int]


class _SegmentGather(torch.autograd.Function):
    """The kernel with its derivative; maps are [N, h_i, w_i, E*H1] here."""

    @staticmethod
    def forward(
        pixels: Tensor, settings: _GatherSettings, addend: Tensor | None, *rows: Tensor
    ) -> Any:
        packed = settings.packed
        return torch.ops.editvec.segment_gather(
            list(rows), pixels, addend, *packed[:4], settings.hidden1, settings.num_labels,
            *settings.size,
        )  # fmt: skip

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pixels, ctx.settings, addend, *rows = inputs
        ctx.save_for_backward(pixels, addend, *rows)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        pixels, addend, *rows = ctx.saved_tensors
        needed = ctx.needs_input_grad[2:]
        derive = _derive_again if torch.is_grad_enabled() else _derive
        derivatives = derive(grads[0], pixels, ctx.settings, addend, rows, needed)
        return None, None, *derivatives


def _derive(
    grad: Tensor,
    pixels: Tensor,
    settings: _GatherSettings,
    addend: Tensor | None,
    rows: list[Tensor],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Derivatives of addend and maps by the kernel."""
    packed = settings.packed
    found = torch.ops.editvec.segment_gather_grad(
        _aligned(grad), rows, pixels, addend, packed.layer2, packed.bias2, packed.back2,
        packed.back3, settings.hidden1, settings.num_labels, *settings.size,
    )  # fmt: skip
    grad_maps = [g.to(row.dtype) for g, row in zip(found[: len(rows)], rows, strict=True)]
    derivatives = [found[-1] if addend is not None else None, *grad_maps]
    return [d if wanted else None for d, wanted in zip(derivatives, needed, strict=True)]


def _derive_again(
    grad: Tensor,
    pixels: Tensor,
    settings: _GatherSettings,
    addend: Tensor | None,
    rows: list[Tensor],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The same by the reference, in operations that can be derived again."""
    maps = [row.permute(0, 3, 1, 2) for row in rows]
    logits = segment_gather_reference(
        maps, pixels, settings.layers, size=settings.size, addend=addend
    )
    operands = [addend, *rows]
    wanted = [t for t, need in zip(operands, needed, strict=True) if need and t is not None]
    found = iter(torch.autograd.grad(logits, wanted, grad, create_graph=True))
    return [next(found) if need else None for need in needed]


def _check_operands(
    maps: Sequence[Tensor],
    pixels: Tensor,
    layers: PixelLayers,
    *,
    size: tuple[int, int],
    addend: Tensor | None,
) -> None:
    if not 1 <= len(maps) <= MAX_MAPS:
        raise OperandError(f"maps must be 1 to {MAX_MAPS} tensors, got {len(maps)}")
    members, _, width1 = _check_layers(layers)
    like = maps[0]
    count = max(len(tensor) for tensor in maps)
    for index, tensor in enumerate(maps):
        fits = tensor.ndim == 4 and tensor.shape[1] == members * width1 and tensor.numel() > 0
        if not fits or len(tensor) not in (1, count) or not tensor.is_floating_point():
            raise OperandError(
                f"maps[{index}] must be a floating-point tensor [{count} or 1, "
                f"{members * width1}, h, w], got {tensor.dtype} {list(tensor.shape)}"
            )
    named = {f"maps[{index}]": tensor for index, tensor in enumerate(maps)} | layers._asdict()
    if addend is not None:
        named["addend"] = addend
        if list(addend.shape) != [len(pixels), members * width1]:
            raise OperandError(
                f"addend must have shape [{len(pixels)}, {members * width1}], "
                f"got {list(addend.shape)}"
            )
    for name, tensor in named.items():
        if tensor.dtype != like.dtype or tensor.device != like.device:
            raise OperandError(
                f"{name} must be {like.dtype} on {like.device} as maps[0] is, "
                f"got {tensor.dtype} on {tensor.device}"
            )
    _check_pixels(pixels, like, extent=(count, *size))


def _check_layers(layers: PixelLayers) -> tuple[int, int, int]:
    """E, H2 and H1 of layers that fit each other."""
    if layers.weight2.ndim != 3 or layers.weight2.numel() == 0:
        raise OperandError(f"weight2 must be [E, H2, H1], got {list(layers.weight2.shape)}")
    members, width2, width1 = layers.weight2.shape
    labels = len(layers.weight3)
    shapes = {
        "bias2": [members, width2, 1],
        "weight3": [labels, members * width2],
        "bias3": [labels, 1],
    }
    for name, shape in shapes.items():
        found = list(getattr(layers, name).shape)
        if found != shape or labels == 0:
            raise OperandError(f"{name} must have shape {shape}, got {found}")
    return members, width2, width1


def _check_pixels(pixels: Tensor, like: Tensor, *, extent: tuple[int, int, int]) -> None:
    if pixels.ndim != 2 or pixels.shape[1] != 3 or pixels.dtype != torch.int64:
        raise OperandError(f"pixels must be int64 [P, 3], got {pixels.dtype} {list(pixels.shape)}")
    if pixels.device != like.device:
        raise OperandError(f"pixels must be on {like.device} as maps[0] is, got {pixels.device}")
    bound = torch.tensor(extent, device=pixels.device)
    if bool(((pixels < 0) | (pixels >= bound)).any()):
        raise OperandError(f"pixels must be (n, y, x) inside {extent}, got one outside")
